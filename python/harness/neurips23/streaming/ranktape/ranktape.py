from neurips23.streaming.base import BaseStreamingANN
from ranktape_bench import big_ann


class Ranktape(big_ann.Streaming, BaseStreamingANN):
    pass
