# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""The panels as a console of Prometheus itself: a page of its server, for where there is no Grafana.

It needs the server alone: no console library, no script, no style sheet of others. Without parameters it lists all apps
and the alerts that fire; with `instance` and `app` it tells each panel of one, with a link to the graph of each query.
"""

from __future__ import annotations

from html import escape
from typing import Final

from .panels import COLUMNS, ROWS, Column, Panel, Query, Unit

NAME: Final = "headcount.html"
_WINDOW: Final = "5m"
_SHOWN: Final[dict[Unit, str]] = {
    "reqps": '{{ printf "%.3g" .Value }}/s',
    "percentunit": "{{ humanizePercentage .Value }}",
    "s": "{{ humanizeDuration .Value }}",
    "bytes": "{{ humanize1024 .Value }}B",
    "short": "{{ humanize .Value }}",
    "none": "",
}
_STYLE: Final = """\
:root { color-scheme: light dark; }
body { font: 15px/1.45 system-ui, sans-serif; margin: 1.5rem auto; max-width: 75rem; padding: 0 1rem; }
table { border-collapse: collapse; width: 100%; margin: .4rem 0 1.2rem; }
th, td { text-align: left; padding: .2rem .6rem; border-bottom: 1px solid #8884; }
td.n { text-align: right; font-variant-numeric: tabular-nums; }
h2 { margin-top: 2rem; } h3 { margin-bottom: 0; } p { margin: .2rem 0; opacity: .75; }
.firing { color: #c22; font-weight: 600; }"""
_LABELS: Final = (
    '{{ range $name, $value := .Labels }}{{ if not (match "^(__name__|job|instance|app)$" $name) }}'
    "{{ $name }} {{ $value }} {{ end }}{{ end }}"
)


def console() -> str:
    """The template; its place is the server's folder of consoles."""
    return f"""\
<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<title>Headcount</title>
<style>
{_STYLE}
</style>
</head>
<body>
<!-- Written by Headcount (scripts/monitoring): change it there. -->
{{{{ if and .Params.instance .Params.app }}}}
{_one()}
{{{{ else }}}}
{_all()}
{{{{ end }}}}
</body>
</html>
"""


def _all() -> str:
    heads = "".join(f"<th>{escape(column.title)}</th>" for column in COLUMNS)
    cells = "\n".join(_cell(column) for column in COLUMNS)
    return f"""\
<h1>Headcount</h1>
<h2>Alerts</h2>
<table>
{{{{ range query `ALERTS{{alertname=~"Headcount.*", alertstate="firing"}}` | sortByLabel "alertname" }}}}
<tr>
<td class="firing">{{{{ .Labels.alertname }}}}</td><td>{{{{ .Labels.app }}}}</td><td>{{{{ .Labels.instance }}}}</td>
</tr>
{{{{ else }}}}
<tr><td>None fires.</td></tr>
{{{{ end }}}}
</table>
<h2>Apps</h2>
<table>
<tr><th>host</th><th>app</th>{heads}</tr>
{{{{ range query "headcount_app_deployed == 1" | sortByLabel "instance" }}}}
{_selection(".Labels.")}
<tr>
<td>{{{{ .Labels.instance }}}}</td>
<td><a href="?instance={{{{ .Labels.instance }}}}&amp;app={{{{ .Labels.app }}}}">{{{{ .Labels.app }}}}</a></td>
{cells}
</tr>
{{{{ else }}}}
<tr><td>No exporter has told of an app yet.</td></tr>
{{{{ end }}}}
</table>"""


def _one() -> str:
    rows = "\n".join(
        f"<h2>{escape(row.title)}</h2>\n" + "\n".join(_panel(panel) for panel in row.panels) for row in ROWS
    )
    return f"""\
<p><a href="?">All apps</a></p>
<h1>{{{{ .Params.app }}}} on {{{{ .Params.instance }}}}</h1>
{_selection(".Params.")}
{rows}"""


def _selection(source: str) -> str:
    """What SELECTED and HOSTS stand for; %q makes a string of PromQL of whatever was asked for."""
    return (
        f'{{{{ $hosts := printf "instance=%q" {source}instance }}}}'
        f'{{{{ $selected := printf "instance=%q, app=%q" {source}instance {source}app }}}}'
    )


def _expression(query: Query) -> str:
    """The expression as an action of the template."""
    filled = query.filled("\0", "\1", _WINDOW).replace("%", "%%").replace("\0", "%[1]s").replace("\1", "%[2]s")
    return f"printf `{filled}` $selected $hosts"


def _cell(column: Column) -> str:
    shown = (
        f"{{{{ with query ({_expression(column.query)}) }}}}{{{{ with first . }}}}{_SHOWN[column.unit]}{{{{ end }}}}"
    )
    return f'<td class="n">{shown}{{{{ else }}}}-{{{{ end }}}}</td>'


def _panel(panel: Panel) -> str:
    queries = "\n".join(_series(query, panel.unit) for query in panel.queries)
    return f"<h3>{escape(panel.title)}</h3>\n<p>{escape(panel.about)}</p>\n<table>\n{queries}\n</table>"


def _series(query: Query, unit: Unit) -> str:
    name = escape(" ".join(word for word in query.legend.split() if "{{" not in word))
    return f"""\
{{{{ $expr := {_expression(query)} }}}}{{{{ range query $expr }}}}
<tr><td>{name} {_LABELS}</td><td class="n">{_SHOWN[unit]}</td>
<td><a href="{{{{ pathPrefix }}}}{{{{ graphLink $expr }}}}">graph</a></td></tr>
{{{{ else }}}}
<tr><td>{name}</td><td class="n">no data</td><td></td></tr>
{{{{ end }}}}"""
