"""Lines over two axes as SVG, without a library: enough for the plots of docs/performance.md."""
import math
import pathlib

COLOURS = ("#1b6ca8", "#c8553d", "#5b8c5a", "#8d5a97", "#8a8a8a")
WIDTH, HEIGHT, LEFT, RIGHT, TOP, BOTTOM = 640, 400, 70, 20, 30, 60


def axis(values, is_log):
    """Where a value lies between 0 and 1, and the marks of the axis."""
    low, high = min(values), max(values)
    if is_log:
        marks = [base * 10.0**power for power in range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
                 for base in ((1, 2, 5) if high / low < 200 else (1,))]
        place = lambda value: (math.log(value) - math.log(low)) / ((math.log(high) - math.log(low)) or 1)
    else:
        step = 10.0 ** math.floor(math.log10((high - low) or 1))
        step = next(step * part for part in (0.1, 0.2, 0.5, 1, 2) if (high - low) / (step * part) <= 8)
        marks = [index * step for index in range(math.floor(low / step), math.ceil(high / step) + 1)]
        place = lambda value: (value - low) / ((high - low) or 1)
    return place, [mark for mark in marks if low <= mark * (1 + 1e-9) and mark <= high * (1 + 1e-9)]


def lines(path, curves, x_title, y_title, x_log=False, y_log=False):
    """curves: {name: [(x, y), ..]}."""
    x_place, x_marks = axis([x for points in curves.values() for x, _ in points], x_log)
    y_place, y_marks = axis([y for points in curves.values() for _, y in points], y_log)
    left = lambda x: LEFT + (WIDTH - LEFT - RIGHT) * x_place(x)
    top = lambda y: HEIGHT - BOTTOM - (HEIGHT - TOP - BOTTOM) * y_place(y)
    drawn = [f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{HEIGHT}" font-family="sans-serif" '
             f'font-size="12"><rect width="{WIDTH}" height="{HEIGHT}" fill="white"/>']
    for mark in x_marks:
        drawn.append(f'<path d="M{left(mark):.1f} {TOP}V{HEIGHT - BOTTOM}" stroke="#ddd"/><text x="{left(mark):.1f}" '
                     f'y="{HEIGHT - BOTTOM + 16}" text-anchor="middle">{mark:g}</text>')
    for mark in y_marks:
        drawn.append(f'<path d="M{LEFT} {top(mark):.1f}H{WIDTH - RIGHT}" stroke="#ddd"/><text x="{LEFT - 6}" '
                     f'y="{top(mark) + 4:.1f}" text-anchor="end">{mark:g}</text>')
    for index, (name, points) in enumerate(curves.items()):
        colour = COLOURS[index % len(COLOURS)]
        drawn.append(f'<polyline fill="none" stroke="{colour}" stroke-width="2" points="'
                     + " ".join(f"{left(x):.1f},{top(y):.1f}" for x, y in points) + '"/>')
        drawn += [f'<circle cx="{left(x):.1f}" cy="{top(y):.1f}" r="3" fill="{colour}"/>' for x, y in points]
        drawn.append(f'<text x="{LEFT + 10 + 150 * index}" y="18" fill="{colour}">{name}</text>')
    drawn.append(f'<text x="{WIDTH / 2}" y="{HEIGHT - 18}" text-anchor="middle">{x_title}</text><text x="16" y="{HEIGHT / 2}" '
                 f'transform="rotate(-90 16 {HEIGHT / 2})" text-anchor="middle">{y_title}</text></svg>')
    pathlib.Path(path).write_text("\n".join(drawn) + "\n")
