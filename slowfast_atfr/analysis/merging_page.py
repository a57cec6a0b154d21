"""A self-contained HTML page about one clip."""

import base64
import html
import json
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import cv2
import numpy as np

from slowfast_atfr.analysis.merging import ClipMerging, LayerMerging

CELL, CHART, STRIP = 64, 160, 22  # pixels: side of a frame, height of the chart, height of the strip of bins
LEFT, TOP = 70, CELL + STRIP + 26  # pixels: left of the first frame, above the chart
STYLE = """
body{font:15px/1.45 system-ui,sans-serif;margin:1.5em auto;max-width:1500px;padding:0 1em;color:#222;background:#fff}
h1{font-size:1.35em}h2{font-size:1.15em;margin:2em 0 .3em}.line{overflow-x:auto;padding-bottom:.5em}
table{border-collapse:collapse;margin:.6em 0}td,th{padding:.15em .8em;border-bottom:1px solid #ddd;text-align:right}
td:first-child,th:first-child{text-align:left}.merged{display:flex;flex-wrap:wrap;gap:.6em}
.merged figure{margin:0;padding:.4em;border:3px solid;border-radius:4px;font-size:.85em;max-width:15em}
.merged img{height:36px;margin:1px}.map{height:64px!important;image-rendering:pixelated}
svg text{font:11px system-ui,sans-serif;fill:#222}.dim{opacity:.25}.bar{background:#eee;width:26em;height:1.1em}
.bar div{background:#0072B2;height:100%}
@media(prefers-color-scheme:dark){body{background:#181818;color:#ddd}svg text{fill:#ddd}td,th{border-color:#444}
.bar{background:#333}}
"""
SCRIPT = """
for(const section of document.querySelectorAll("section"))for(const part of section.querySelectorAll("[data-to]")){
part.addEventListener("mouseenter",()=>{for(const other of section.querySelectorAll("[data-to]"))
other.classList.toggle("dim",other.dataset.to!==part.dataset.to)});
part.addEventListener("mouseleave",()=>{for(const other of section.querySelectorAll("[data-to]"))
other.classList.remove("dim")})}
"""


def merging_page(clip: ClipMerging) -> str:
    """Return the page: the cost of the clip and, for each SGS layer, a time line of frames coloured by bin, their
    similarity with the borders of bins, and the merged maps. All numbers are also in a script element of type JSON."""
    thumbnails = [_picture(frame, CELL) for frame in clip.frames]
    share = clip.gflops / clip.dense_gflops
    best = ", ".join(f"{html.escape(name)} {100 * probability:.1f}%" for name, probability in clip.best)
    sections = "".join(_section(clip, layer, thumbnails) for layer in clip.layers)
    title = html.escape(clip.video)
    data = json.dumps(page_data(clip)).replace("<", "\\u003c")
    return f"""<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>{title}</title><style>{STYLE}</style></head><body>
<h1>{title}, {clip.start:.2f} to {clip.end:.2f} s, {len(clip.frames)} frames</h1>
<p>Taken for: {best}</p>
<p>It costs <b>{clip.gflops:.4g} GFLOPs</b>; with all maps it would cost {clip.dense_gflops:.4g}: {share:.1%}</p>
<div class="bar" title="share of the cost with all maps"><div style="width:{100 * share:.1f}%"></div></div>
<p>One colour is one bin: its maps are added up to one. Point at anything to see what belongs together.</p>
{sections}
<script type="application/json" id="data">{data}</script><script>{SCRIPT}</script></body></html>
"""


def page_data(clip: ClipMerging) -> dict[str, Any]:
    """Return the numbers of a page, from the records."""
    layers = [
        {
            "name": layer.name,
            "similarity": layer.record.similarity.tolist(),
            "block": layer.record.block.tolist(),
            "bin": layer.record.bin.tolist(),
            "output": layer.record.output.tolist(),
            "num_active": int(layer.record.num_active),
            "num_bins": list(layer.num_bins),
            "frames": layer.frames.tolist(),
        }
        for layer in clip.layers
    ]
    cost = {"gflops": clip.gflops, "dense_gflops": clip.dense_gflops}
    best = [{"class": name, "probability": probability} for name, probability in clip.best]
    return {"video": clip.video, "start": clip.start, "end": clip.end, "best": best, **cost, "layers": layers}


def _section(clip: ClipMerging, layer: LayerMerging, thumbnails: Sequence[str]) -> str:
    record = layer.record
    heading = f"{clip.title(layer)}: {len(record.bin)} input maps, {record.num_active} output maps"
    rows = "".join(
        f"<tr><td>{number}</td><td>{first} to {end - 1}</td>"
        f"<td>{layer.num_bins[number] if layer.num_bins else '-'}</td>"
        f"<td>{len(set(record.output[first:end].tolist()))}</td></tr>"
        for number, (first, end) in enumerate(layer.blocks())
    )
    merged = "".join(
        f'<figure data-to="{number}" style="border-color:{layer.colors[members[0]]}">'
        f'<img class="map" src="{_map(layer.merged[number])}" alt="merged map {number}"><br>'
        f"{''.join(_small(layer, member, thumbnails) for member in members)}"
        f"<figcaption>map {number}: {_numbers(members)}</figcaption></figure>"
        for number, members in enumerate(layer.members())
    )
    return f"""<section id="{html.escape(layer.name)}"><h2>{html.escape(heading)}</h2>
<div class="line">{_time_line(layer, thumbnails)}</div>
<p>Merged maps, as means over channels, above the frames that they were merged from:</p>
<div class="merged">{merged}</div>
<table><tr><th>block</th><th>maps</th><th>bins</th><th>active</th></tr>{rows}</table></section>"""


def _small(layer: LayerMerging, member: int, thumbnails: Sequence[str]) -> str:
    return f'<img src="{thumbnails[layer.frames[member]]}" alt="frame {layer.frames[member]}">'


def _time_line(layer: LayerMerging, thumbnails: Sequence[str]) -> str:
    """An SVG: frames, a strip of bins, similarity over time with the borders of bins."""
    width, height = LEFT + len(layer.record.bin) * CELL + 10, TOP + CHART + 40
    largest = max(float(np.max(layer.record.similarity)), 1e-12)

    def y(value: float) -> float:
        return TOP + CHART * (1 - value / largest)

    parts = [f'<svg width="{width}" height="{height}" role="img" aria-label="time line of {html.escape(layer.name)}">']
    parts += [*_frame_strip(layer, thumbnails), *_border_lines(layer, y), *_similarity_curves(layer, y)]
    for value in (0, largest):
        parts.append(f'<text x="{LEFT - 6}" y="{y(value) + 4}" text-anchor="end">{value:.3g}</text>')
    parts.append(f'<text x="4" y="{CELL + 15}">goes to</text><text x="4" y="{TOP + CHART / 2}">{layer.measure}</text>')
    parts.append(f'<text x="4" y="{TOP + CHART + 15}">frame</text>')
    bins = "grey lines: borders of the bins; " if layer.num_bins else ""
    parts.append(f'<text x="{LEFT}" y="{TOP + CHART + 34}">{bins}dashed lines: borders of blocks</text>')
    return "".join(parts) + "</svg>"


def _x(index: int) -> float:
    """Middle of a map's column."""
    return LEFT + (index + 0.5) * CELL


def _frame_strip(layer: LayerMerging, thumbnails: Sequence[str]) -> Iterator[str]:
    """Each map's frame, and under it the number of its output map in its colour."""
    for index, (to, frame, color) in enumerate(zip(layer.record.output, layer.frames, layer.colors, strict=True)):
        left = LEFT + index * CELL
        tip = f"map {index}, frame {frame}: bin {_bin(layer.record.bin[index])}, goes to {to}"
        yield (
            f'<g data-to="{to}"><title>{tip}</title>'
            f'<image href="{thumbnails[frame]}" x="{left}" y="0" width="{CELL}" height="{CELL}"/>'
            f'<rect x="{left}" y="{CELL}" width="{CELL}" height="{STRIP}" fill="{color}"/>'
            f'<text x="{left + CELL / 2}" y="{CELL + 15}" text-anchor="middle" '
            f'style="fill:#fff;font-weight:600;paint-order:stroke;stroke:#0008;stroke-width:2px">{to}</text></g>'
            f'<text x="{_x(index)}" y="{TOP + CHART + 15}" text-anchor="middle">{frame}</text>'
        )


def _border_lines(layer: LayerMerging, y: Callable[[float], float]) -> Iterator[str]:
    """Borders of bins and of blocks."""
    for number, (first, end) in enumerate(layer.blocks()):
        begin, stop = LEFT + first * CELL, LEFT + end * CELL
        for border in layer.borders(number):
            level = y(border)
            yield f'<line x1="{begin}" x2="{stop}" y1="{level}" y2="{level}" stroke="#999" stroke-width=".7"/>'
        if first:
            yield f'<line x1="{begin}" x2="{begin}" y1="0" y2="{TOP + CHART}" stroke="#888" stroke-dasharray="4"/>'


def _similarity_curves(layer: LayerMerging, y: Callable[[float], float]) -> Iterator[str]:
    """A line with points for each coordinate of the similarity."""
    similarity, colors = layer.record.similarity, layer.colors
    for column in (similarity if similarity.ndim > 1 else similarity[:, None]).T:
        points = " ".join(f"{_x(index):.1f},{y(float(value)):.1f}" for index, value in enumerate(column))
        yield f'<polyline points="{points}" fill="none" stroke="#888"/>'
        for index, value in enumerate(column):
            yield (
                f'<circle data-to="{layer.record.output[index]}" cx="{_x(index)}" cy="{y(float(value)):.1f}" r="5" '
                f'fill="{colors[index]}"><title>{layer.measure} {value:.4g}</title></circle>'
            )


def _bin(value: Any) -> str:
    return str(tuple(value.tolist())) if np.ndim(value) else str(int(value))


def _numbers(members: Sequence[int]) -> str:
    """Format numbers such as "maps 0-3, 7"."""
    runs: list[list[int]] = []
    for member in members:
        if runs and member == runs[-1][1] + 1:
            runs[-1][1] = member
        else:
            runs.append([member, member])
    text = ", ".join(str(a) if a == b else f"{a}-{b}" for a, b in runs)
    return f"{'map' if len(members) == 1 else 'maps'} {text}"


def _map(values: np.ndarray) -> str:
    """Encode a map in viridis."""
    low, high = float(values.min()), float(values.max())
    scaled = ((values - low) / max(high - low, 1e-12) * 255).astype(np.uint8)
    return _encoded(cv2.applyColorMap(scaled, cv2.COLORMAP_VIRIDIS), ".png")


def _picture(frame: np.ndarray, side: int) -> str:
    return _encoded(cv2.resize(frame[..., ::-1], (side, side), interpolation=cv2.INTER_AREA), ".jpg")


def _encoded(picture: np.ndarray, ending: str) -> str:
    kind = {".jpg": "jpeg", ".png": "png"}[ending]
    return f"data:image/{kind};base64,{base64.b64encode(cv2.imencode(ending, picture)[1]).decode()}"
