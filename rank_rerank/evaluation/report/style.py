"""The style of the page, over that of the explanations."""

from rank_rerank.explanation.html_style import BASE_STYLE

PAGE_STYLE = (
    BASE_STYLE
    + """
:root{--good:#18794e;--bad:#c4320a;--one:#0b68cb;--two:#8e4ec6;--three:#18794e;--four:#b45309}
@media(prefers-color-scheme:dark){:root{--good:#4cc38a;--bad:#ff8b6b;--one:#70b8ff;--two:#c9a2ff;--three:#4cc38a;
--four:#f1a10d}}
main>h2{margin:1.6rem 0 .4rem;font-size:1.1rem}
article h2{flex-wrap:wrap}
.table{overflow-x:auto;margin:.6rem 0}
table{border-collapse:collapse;font-size:.85rem;font-variant-numeric:tabular-nums}
th,td{padding:.25rem .6rem;border-bottom:1px solid var(--line);text-align:end;vertical-align:top;white-space:nowrap}
th:first-child,.words th,.words td{text-align:start}
.words th,.words td{white-space:normal;overflow-wrap:break-word}
.words tbody th{min-width:8rem}
.ranks tbody th{min-width:3rem}
thead th{color:var(--soft);font-weight:normal}
tbody th{font-weight:600}
.words td:last-child,.ranks td:nth-child(2){min-width:10rem}
ul.ranks{margin:.2rem 0;padding-left:1.2rem;font-size:.9rem}
.plots{display:grid;grid-template-columns:repeat(auto-fit,minmax(min(100%,22rem),1fr));gap:1rem;margin:1rem 0}
figure{margin:0}
figcaption{font-size:.9rem;margin-bottom:.2rem}
svg{width:100%;height:auto;font:11px system-ui,sans-serif;fill:currentColor}
svg text{fill:var(--soft)}
svg .name{fill:var(--ink)}
.grid{stroke:var(--line)}
.diagonal{stroke:var(--soft);stroke-dasharray:4 4}
.gain{fill:var(--good)}.loss{fill:var(--bad)}.same{fill:var(--soft)}
.dot{fill:var(--one)}.line{fill:none;stroke:var(--one);stroke-width:2}
.dot.c1{fill:var(--two)}.line.c1{stroke:var(--two)}
.dot.c2{fill:var(--three)}.line.c2{stroke:var(--three)}
.dot.c3{fill:var(--four)}.line.c3{stroke:var(--four)}
"""
)
