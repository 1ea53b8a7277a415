"""An index that lives: rows come and go, one by one or by the thousand, and it stays what a build of the living rows would be."""
import os
import sys
import time
import traceback
from concurrent.futures import ThreadPoolExecutor

from ranktape_cli import check, end


def live(name, seed, n_steps):
    """A history of random steps; what is wrong is told with the steps that led to it."""
    from index_model import Model, Wrong
    jobs = []
    try:
        model = Model(name, seed, jobs.append)
        model.build()
        for _ in range(n_steps):
            model.step()
        model.finish()
    except Wrong as wrong:
        check(False, f"{name} (seed {seed}, {model.metric} {model.element} x {model.dim}): {wrong}\n  " + "\n  ".join(jobs[-12:]))
    except Exception:  # a thread's own would go unseen until the others have ended
        check(False, f"{name} (seed {seed}):\n{traceback.format_exc()}")
    return len(jobs)


def model(n_lives, n_steps):
    seeds = [int(s) for s in os.environ.get("RANKTAPE_TEST_SEED", f"1 {time.time_ns() % 10**9}").split()]
    print(f"seeds {seeds}", flush=True)
    with ThreadPoolExecutor(4) as pool:  # a job of a few rows mostly waits for MPI to start
        lives = [pool.submit(live, f"life{seed}.{i}", [seed, i], n_steps) for seed in seeds for i in range(n_lives)]
        print(f"{sum(life.result() for life in lives)} jobs")


{"model": lambda: model(4, 20), "models": lambda: model(12, 150)}[sys.argv[1]]()
end()
