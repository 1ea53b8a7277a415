from ranktape_bench import ann

from ..base.module import BaseANN


class Ranktape(ann.Ranktape, BaseANN):
    pass
