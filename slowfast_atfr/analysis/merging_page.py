"""A page of HTML about one clip: everything is in the file, so that it works from a disk and without a network."""

import base64
import html
import json
from collections.abc import Sequence
from typing import Any

import cv2
import numpy as np

from slowfast_atfr.analysis.merging import ClipMerging, LayerMerging

CELL, CHART, STRIP = 64, 160, 22  # pixels: of a frame's side, of the chart's height, of the strip of bins
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
    """The page: what the clip costs, and for each SGS layer its frames on a time line coloured by bin, the similarity
    with the bins' borders, and what was merged with what. All numbers stand in a script element of type JSON, too."""
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
<p>One colour is one bin: its maps are added up and go on as one. Point at anything to see what belongs together.</p>
{sections}
<script type="application/json" id="data">{data}</script><script>{SCRIPT}</script></body></html>
"""


def page_data(clip: ClipMerging) -> dict[str, Any]:
    """The numbers of a page, as they are in the records."""
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
    heading = f"{clip.title(layer)}: {len(record.bin)} maps come in, {record.num_active} go on"
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
<p>What was merged with what; above the frames the merged map, mean over its channels:</p>
<div class="merged">{merged}</div>
<table><tr><th>block</th><th>maps</th><th>bins</th><th>active</th></tr>{rows}</table></section>"""


def _small(layer: LayerMerging, member: int, thumbnails: Sequence[str]) -> str:
    return f'<img src="{thumbnails[layer.frames[member]]}" alt="frame {layer.frames[member]}">'


def _time_line(layer: LayerMerging, thumbnails: Sequence[str]) -> str:
    """An SVG: frames, a strip of bins, similarity over time with the bins' borders."""
    record, colors, left = layer.record, layer.colors, 70
    count, top = len(record.bin), CELL + STRIP + 26
    width, height = left + count * CELL + 10, top + CHART + 40
    largest = max(float(np.max(record.similarity)), 1e-12)
    x = [left + (index + 0.5) * CELL for index in range(count)]

    def y(value: float) -> float:
        return top + CHART * (1 - value / largest)

    parts = [f'<svg width="{width}" height="{height}" role="img" aria-label="time line of {html.escape(layer.name)}">']
    for index in range(count):
        to, where = record.output[index], left + index * CELL
        tip = f"map {index}, frame {layer.frames[index]}: bin {_bin(record.bin[index])}, goes to {to}"
        parts.append(
            f'<g data-to="{to}"><title>{tip}</title>'
            f'<image href="{thumbnails[layer.frames[index]]}" x="{where}" y="0" width="{CELL}" height="{CELL}"/>'
            f'<rect x="{where}" y="{CELL}" width="{CELL}" height="{STRIP}" fill="{colors[index]}"/>'
            f'<text x="{where + CELL / 2}" y="{CELL + 15}" text-anchor="middle" '
            f'style="fill:#fff;font-weight:600;paint-order:stroke;stroke:#0008;stroke-width:2px">{to}</text></g>'
            f'<text x="{x[index]}" y="{top + CHART + 15}" text-anchor="middle">{layer.frames[index]}</text>'
        )
    for number, (first, end) in enumerate(layer.blocks()):
        begin, stop = left + first * CELL, left + end * CELL
        for border in layer.borders(number):
            level = y(border)
            parts.append(f'<line x1="{begin}" x2="{stop}" y1="{level}" y2="{level}" stroke="#999" stroke-width=".7"/>')
        if first:
            parts.append(
                f'<line x1="{begin}" x2="{begin}" y1="0" y2="{top + CHART}" stroke="#888" stroke-dasharray="4"/>'
            )
    values = record.similarity if record.similarity.ndim > 1 else record.similarity[:, None]
    for column in values.T:
        points = " ".join(f"{a:.1f},{y(float(b)):.1f}" for a, b in zip(x, column, strict=True))
        parts.append(f'<polyline points="{points}" fill="none" stroke="#888"/>')
        for index, value in enumerate(column):
            parts.append(
                f'<circle data-to="{record.output[index]}" cx="{x[index]}" cy="{y(float(value)):.1f}" r="5" '
                f'fill="{colors[index]}"><title>{layer.measure} {value:.4g}</title></circle>'
            )
    for value in (0, largest):
        parts.append(f'<text x="{left - 6}" y="{y(value) + 4}" text-anchor="end">{value:.3g}</text>')
    parts.append(f'<text x="4" y="{CELL + 15}">goes to</text><text x="4" y="{top + CHART / 2}">{layer.measure}</text>')
    parts.append(f'<text x="4" y="{top + CHART + 15}">frame</text>')
    bins = "grey lines: borders of the bins; " if layer.num_bins else ""
    parts.append(f'<text x="{left}" y="{top + CHART + 34}">{bins}dashed lines: borders of blocks</text>')
    return "".join(parts) + "</svg>"


def _bin(value: Any) -> str:
    return str(tuple(value.tolist())) if np.ndim(value) else str(int(value))


def _numbers(members: Sequence[int]) -> str:
    """Such as "maps 0-3, 7"."""
    runs: list[list[int]] = []
    for member in members:
        if runs and member == runs[-1][1] + 1:
            runs[-1][1] = member
        else:
            runs.append([member, member])
    text = ", ".join(str(a) if a == b else f"{a}-{b}" for a, b in runs)
    return f"{'map' if len(members) == 1 else 'maps'} {text}"


def _map(values: np.ndarray) -> str:
    """A map in viridis."""
    low, high = float(values.min()), float(values.max())
    scaled = ((values - low) / max(high - low, 1e-12) * 255).astype(np.uint8)
    return _encoded(cv2.applyColorMap(scaled, cv2.COLORMAP_VIRIDIS), ".png")


def _picture(frame: np.ndarray, side: int) -> str:
    return _encoded(cv2.resize(frame[..., ::-1], (side, side), interpolation=cv2.INTER_AREA), ".jpg")


def _encoded(picture: np.ndarray, ending: str) -> str:
    kind = {".jpg": "jpeg", ".png": "png"}[ending]
    return f"data:image/{kind};base64,{base64.b64encode(cv2.imencode(ending, picture)[1]).decode()}"
