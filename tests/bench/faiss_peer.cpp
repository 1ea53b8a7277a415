// The work of `ranktape build` and `ranktape search` done by FAISS (IVF, flat vectors, l2), as the
// peer to measure against.
//
//   faiss_peer ROWS QUERIES TRUTH LISTS [THREADS [SAMPLE_PER_LIST [ITERATIONS]]]
//
// ROWS, QUERIES: .fbin, .u8bin or .i8bin. TRUTH: .ibin; - for both: nothing is searched. THREADS
// (2) hold for train and add; search runs with one. Prints one JSON object: seconds of read, train
// and add; for each nprobe recall@10 and rows scanned a query.
#include <faiss/IndexFlat.h>
#include <faiss/IndexIVFFlat.h>
#include <omp.h>

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <cstdlib>
#include <fstream>
#include <iostream>
#include <stdexcept>
#include <string>
#include <vector>

namespace
{

constexpr size_t k = 10;

double seconds_of(const auto &work)
{
    const auto begin = std::chrono::steady_clock::now();
    work();
    return std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
}

// A matrix as big-ann-benchmarks keeps it: uint32 rows, uint32 columns, values row by row.
template <class To> struct Matrix {
    uint32_t rows = 0, columns = 0;
    std::vector<To> values;

    const To *row(size_t i) const
    {
        return values.data() + i * columns;
    }
};

template <class From, class To> Matrix<To> read_as(const std::string &path)
{
    std::ifstream file(path, std::ios::binary);
    Matrix<To> matrix;
    file.read(reinterpret_cast<char *>(&matrix.rows), 4);
    file.read(reinterpret_cast<char *>(&matrix.columns), 4);
    std::vector<From> line(file ? matrix.columns : 0);
    if (file)
        matrix.values.resize(size_t(matrix.rows) * matrix.columns);
    for (size_t i = 0; file && i < matrix.rows; i++) {
        file.read(reinterpret_cast<char *>(line.data()),
                  std::streamsize(line.size() * sizeof(From)));
        std::copy(line.begin(), line.end(),
                  matrix.values.begin() + std::ptrdiff_t(i * matrix.columns));
    }
    if (!file)
        throw std::runtime_error("cannot read '" + path + "'");
    return matrix;
}

Matrix<float> read_rows(const std::string &path)
{
    if (path.ends_with(".u8bin"))
        return read_as<uint8_t, float>(path);
    if (path.ends_with(".i8bin"))
        return read_as<int8_t, float>(path);
    if (path.ends_with(".fbin"))
        return read_as<float, float>(path);
    throw std::runtime_error("'" + path + "': .fbin, .u8bin or .i8bin wanted");
}

// Rows in the lists that the queries probe, a query.
double rows_scanned(const faiss::IndexIVF &index, const Matrix<float> &queries)
{
    std::vector<float> distances(queries.rows * index.nprobe);
    std::vector<int64_t> lists(queries.rows * index.nprobe);
    index.quantizer->search(queries.rows, queries.values.data(), int64_t(index.nprobe),
                            distances.data(), lists.data());
    size_t rows = 0;
    for (int64_t list : lists)
        rows += list < 0 ? 0 : index.invlists->list_size(size_t(list));
    return double(rows) / queries.rows;
}

double recall(const Matrix<int32_t> &truth, const std::vector<int64_t> &found)
{
    size_t hits = 0;
    for (size_t q = 0; q < truth.rows; q++)
        for (size_t i = 0; i < k; i++)
            hits += size_t(std::count(truth.row(q), truth.row(q) + k, found[q * k + i]));
    return double(hits) / double(truth.rows * k);
}

void search(faiss::IndexIVFFlat &index, const char *queries_path, const char *truth_path)
{
    const auto queries = read_rows(queries_path);
    const auto truth = read_as<int32_t, int32_t>(truth_path);
    if (int64_t(queries.columns) != index.d || truth.rows != queries.rows || truth.columns < k)
        throw std::runtime_error("rows, queries and truth do not belong together");
    omp_set_num_threads(1);
    std::vector<float> distances(queries.rows * k);
    std::vector<int64_t> found(queries.rows * k);
    for (index.nprobe = 1; index.nprobe <= std::min<size_t>(index.nlist, 256); index.nprobe *= 2) {
        index.search(queries.rows, queries.values.data(), k, distances.data(), found.data());
        std::cout << (index.nprobe > 1 ? "," : "") << "{\"probes\":" << index.nprobe
                  << ",\"recall\":" << recall(truth, found)
                  << ",\"rows_scanned\":" << rows_scanned(index, queries) << "}";
    }
}

void measure(int argc, char **argv)
{
    const auto number = [&](int place, int otherwise) {
        return argc > place ? std::atoi(argv[place]) : otherwise;
    };
    Matrix<float> rows;
    const double read_seconds = seconds_of([&] { rows = read_rows(argv[1]); });

    const int threads = number(5, 2);
    omp_set_num_threads(threads);
    faiss::IndexFlatL2 quantizer(rows.columns);
    faiss::IndexIVFFlat index(&quantizer, rows.columns, size_t(number(4, 0)));
    index.cp.max_points_per_centroid = number(6, 256);
    index.cp.niter = number(7, 10);
    const double train_seconds = seconds_of([&] { index.train(rows.rows, rows.values.data()); });
    const double add_seconds = seconds_of([&] { index.add(rows.rows, rows.values.data()); });

    std::cout << "{\"rows\":" << rows.rows << ",\"dimension\":" << rows.columns
              << ",\"lists\":" << index.nlist << ",\"threads\":" << threads
              << ",\"read_seconds\":" << read_seconds << ",\"train_seconds\":" << train_seconds
              << ",\"add_seconds\":" << add_seconds << ",\"search\":[";
    if (argv[2] != std::string("-"))
        search(index, argv[2], argv[3]);
    std::cout << "]}\n";
}

} // namespace

int main(int argc, char **argv)
{
    if (argc < 5) {
        std::cerr << "usage: faiss_peer ROWS QUERIES TRUTH LISTS [THREADS [SAMPLE_PER_LIST "
                     "[ITERATIONS]]]\n";
        return 2;
    }
    try {
        measure(argc, argv);
    } catch (const std::exception &error) {
        std::cerr << "faiss_peer: " << error.what() << '\n';
        return 1;
    }
    return 0;
}
