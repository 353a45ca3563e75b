"""The style of the HTML reports: light and dark, wide and narrow, on paper; texts have the contrast of WCAG's AA."""

from typing import TypeAlias

Color: TypeAlias = tuple[int, int, int]

STRENGTHS = 10
# of AA, for texts of any size
MIN_CONTRAST = 4.5
MARK_INKS: tuple[Color, Color] = ((0, 0, 0), (255, 255, 255))
LIGHT: dict[str, Color] = {"paper": (255, 255, 255), "ink": (27, 27, 31), "soft": (95, 95, 95), "heat": (255, 170, 0)}
DARK: dict[str, Color] = {
    "paper": (23, 24, 28),
    "ink": (238, 238, 238),
    "soft": (170, 170, 170),
    "heat": (255, 160, 40),
}


def contrast(one: Color, other: Color) -> float:
    """The contrast of two colors, from 1 to 21 (WCAG 2.2, relative luminance)."""
    lighter, darker = sorted((_luminance(one), _luminance(other)), reverse=True)
    return (lighter + 0.05) / (darker + 0.05)


def _luminance(color: Color) -> float:
    parts = [value / 255 for value in color]
    red, green, blue = (part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts)  # noqa: PLR2004 - of sRGB
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def blend(over: Color, under: Color, share: float) -> Color:
    """A color of which a share is laid over another."""
    red, green, blue = (round(share * a + (1 - share) * b) for a, b in zip(over, under, strict=True))
    return red, green, blue


def mark_colors(scheme: dict[str, Color], strength: int) -> tuple[Color, Color]:
    """Background and text of a mark: black or white, of which one has the contrast of AA on any color."""
    background = blend(scheme["heat"], scheme["paper"], max(0, strength - 2) / 7)
    return background, max(MARK_INKS, key=lambda ink: contrast(ink, background))


def _scheme(scheme: dict[str, Color], line: str) -> str:
    """The colors of a scheme as rules."""
    names = "".join(f"--{name}:{_rgb(scheme[name])};" for name in ("paper", "ink", "soft"))
    shade = _rgb(blend(scheme["heat"], scheme["paper"], 0.12))
    root = f":root{{{names}--line:{line};--heat:{_rgb(scheme['heat'])};--shade:{shade}}}"
    marks = [(strength, *mark_colors(scheme, strength)) for strength in range(STRENGTHS)]
    return root + "".join(f".s{i}{{background:{_rgb(paper)};color:{_rgb(ink)}}}" for i, paper, ink in marks)


def _rgb(color: Color) -> str:
    return "#" + "".join(f"{value:02x}" for value in color)


# what every page has: colors, texts, passages and marks; paper is white whatever the screen is
BASE_STYLE = (
    _scheme(LIGHT, "#ddd")
    + "@media screen and (prefers-color-scheme:dark){"
    + _scheme(DARK, "#444")
    + """}
*{box-sizing:border-box}
body{margin:0 auto;max-width:60rem;padding:1rem;background:var(--paper);color:var(--ink);
font:1rem/1.55 system-ui,sans-serif;overflow-wrap:anywhere}
h1{font-size:1.3rem;line-height:1.35;margin:.4rem 0}
article{border-bottom:1px solid var(--line);padding:.6rem 0}
h2{font-size:1rem;margin:.3rem 0;display:flex;gap:.7rem;align-items:baseline}
.id{color:var(--soft);font-weight:normal;flex:none;max-width:40%}
.score{margin-left:auto;flex:none;font-variant-numeric:tabular-nums}
.text{margin:.3rem 0;white-space:pre-wrap}
.note{color:var(--soft);margin:.2rem 0}
main>.note{margin:.7rem 0;font-size:.9rem}
.note .passage{color:var(--ink)}
.passage{border-bottom:2px solid var(--heat)}
.best{border-bottom-width:4px;background:var(--shade)}
mark{border-radius:.2rem}
summary{cursor:pointer;color:var(--soft)}
@media print{body{max-width:none;padding:0;font-size:10pt}article{break-inside:avoid}h1,h2{break-after:avoid}
mark,.best{print-color-adjust:exact;-webkit-print-color-adjust:exact}}
"""
)

# a ranking explained: the filter by words, and heat maps
STYLE = (
    BASE_STYLE
    + """
body>input{position:absolute;opacity:0}
header{display:contents}
nav{position:sticky;top:0;z-index:2;background:var(--paper);border-bottom:1px solid var(--line);padding:.5rem 0;
display:flex;flex-wrap:wrap;gap:.3rem;max-height:8.5rem;overflow:auto}
nav label{border:1px solid var(--line);border-radius:1rem;padding:.05rem .7rem;cursor:pointer;white-space:nowrap}
@media(max-width:40rem){nav{flex-wrap:nowrap;padding:.6rem 0;scrollbar-width:thin}nav label{padding:.3rem .8rem}}
input:focus-visible~header nav{outline:2px solid var(--heat)}
.map{overflow-x:auto}
table{border-collapse:collapse;font-size:.75rem}
thead th{height:7rem;vertical-align:bottom;padding:0;font-weight:normal}
thead span{display:inline-block;writing-mode:vertical-rl;transform:rotate(180deg);max-height:7rem;overflow:hidden}
tbody th{position:sticky;left:0;background:var(--paper);text-align:end;padding-inline-end:.4rem;font-weight:normal;
white-space:nowrap;max-width:8rem;overflow:hidden}
td{min-width:1.05rem;height:1.2rem;border:1px solid var(--paper)}
.facts{display:flex;flex-wrap:wrap;gap:.3rem 1.2rem;align-items:center;color:var(--soft);font-size:.9rem;margin:.1rem 0;
font-variant-numeric:tabular-nums}
.facts meter{width:7rem;height:.7rem;vertical-align:middle}
@media print{nav,body>input,details{display:none}}
"""
)
