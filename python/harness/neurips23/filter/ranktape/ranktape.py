from benchmark.datasets import DATASETS
from neurips23.filter.base import BaseFilterANN
from ranktape_bench import big_ann


class Ranktape(big_ann.Filtered, BaseFilterANN):
    def dataset(self, name):
        return DATASETS[name]()
