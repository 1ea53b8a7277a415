from benchmark.algorithms.base import BaseANN
from benchmark.datasets import DATASETS
from ranktape_bench import big_ann


class Ranktape(big_ann.Knn, BaseANN):
    def dataset(self, name):
        return DATASETS[name]()

    def track(self):
        return "ood"
