"""The style of the HTML reports: light and dark, wide and narrow."""

# what every page has: colors, texts, passages and marks
BASE_STYLE = """
:root{--paper:#fff;--ink:#1b1b1f;--soft:#666;--line:#ddd;--heat:255,170,0}
@media(prefers-color-scheme:dark){:root{--paper:#17181c;--ink:#eee;--soft:#aaa;--line:#444;--heat:255,160,40}}
*{box-sizing:border-box}
body{margin:0 auto;max-width:60rem;padding:1rem;background:var(--paper);color:var(--ink);
font:1rem/1.55 system-ui,sans-serif;overflow-wrap:anywhere}
h1{font-size:1.3rem;line-height:1.35;margin:.4rem 0}
article{border-bottom:1px solid var(--line);padding:.6rem 0}
h2{font-size:1rem;margin:.3rem 0;display:flex;gap:.7rem;align-items:baseline}
.id{color:var(--soft);font-weight:normal}
.score{margin-left:auto;font-variant-numeric:tabular-nums}
.text{margin:.3rem 0;white-space:pre-wrap}
.note{color:var(--soft);margin:.2rem 0}
main>.note{margin:.7rem 0;font-size:.9rem}
.note mark,.note .passage{color:var(--ink)}
.passage{border-bottom:2px solid rgba(var(--heat),.9)}
.best{border-bottom-width:4px;background:rgba(var(--heat),.12)}
mark{color:inherit;border-radius:.2rem}
summary{cursor:pointer;color:var(--soft)}
""" + "".join(f".s{i}{{background:rgba(var(--heat),{max(0, i - 2) / 7:.2f})}}" for i in range(10))

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
input:focus-visible~header nav{outline:2px solid rgb(var(--heat))}
.map{overflow-x:auto}
table{border-collapse:collapse;font-size:.75rem}
thead th{height:7rem;vertical-align:bottom;padding:0;font-weight:normal}
thead span{display:inline-block;writing-mode:vertical-rl;transform:rotate(180deg);max-height:7rem;overflow:hidden}
tbody th{position:sticky;left:0;background:var(--paper);text-align:end;padding-inline-end:.4rem;font-weight:normal;
white-space:nowrap;max-width:8rem;overflow:hidden}
td{min-width:1.05rem;height:1.2rem;border:1px solid var(--paper)}
"""
)
