"""An executed notebook as one small page: no code, no script, nothing fetched from elsewhere.

Imports are slow: import this module late.
"""

import re
from dataclasses import dataclass
from pathlib import Path

import nbformat
from jinja2 import DictLoader
from nbconvert.exporters import HTMLExporter

from pysys.control.files import write_whole

_STYLE = """
body{font:15px/1.5 system-ui,-apple-system,"Segoe UI",Roboto,sans-serif;color:#1c2530;background:#fff;
max-width:1100px;margin:0 auto;padding:24px 28px 60px}
header{border-bottom:1px solid #d9dee5;margin-bottom:18px;padding-bottom:8px;color:#5b6877;font-size:13px}
header b{color:#1c2530}h1{font-size:26px;line-height:1.25;margin:18px 0 8px}h2{font-size:19px;margin:26px 0 8px}
h3{font-size:16px}a{color:#0b5cad}a.anchor-link{display:none}
table{border-collapse:collapse;font-size:13px;margin:10px 0;font-variant-numeric:tabular-nums}
th,td{padding:4px 10px;border-bottom:1px solid #e6eaef;text-align:right;white-space:nowrap}
thead th{border-bottom:2px solid #b9c3cf;background:#f6f8fa}tbody th{text-align:left;font-weight:500}
tbody tr:hover{background:#f6f8fa}.out{overflow-x:auto;margin:8px 0}img,svg{max-width:100%;height:auto}
pre{font:12.5px/1.45 ui-monospace,Menlo,Consolas,monospace;white-space:pre-wrap;overflow-wrap:anywhere}
pre.stderr{background:#fff7e6;padding:8px 10px}pre.error{background:#fdecec;border-left:3px solid #c0392b;padding:10px}
.failed,.incomplete,.dead{color:#b02a1c;font-weight:600}.done{color:#1b7a3d;font-weight:600}
p.problem{background:#fdecec;border-left:3px solid #c0392b;padding:8px 12px}
.ansi-red-fg,.ansi-red-intense-fg{color:#b02a1c}.ansi-green-fg{color:#1b7a3d}.ansi-blue-fg{color:#0b5cad}
.ansi-bold{font-weight:600}
@media print{body{max-width:none;padding:0}.out{overflow:visible}tr,img{break-inside:avoid}}
"""

_TEMPLATE = """{%- extends 'base/display_priority.j2' -%}
{%- block header -%}
{%- set run = resources['run'] -%}
<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width,initial-scale=1">
<title>{{ run.title | e }}</title><style>{{ run.style }}</style></head><body>
<header><b>{{ run.name | e }}</b> · {{ run.when | e }} · <span class="{{ run.status | e }}">{{ run.status | e }}</span>
 · {{ '%.1f' | format(run.seconds) }} s · run {{ run.run_id | e }}
 · <a href="{{ run.notebook | e }}">executed notebook</a></header>
{% if run.error %}<p class="problem">{{ run.error | e }}</p>{% endif %}
{%- endblock header -%}
{%- block codecell -%}{%- if cell.outputs -%}{{ super() }}{%- endif -%}{%- endblock codecell -%}
{%- block input_group -%}{%- endblock input_group -%}
{%- block in_prompt -%}{%- endblock -%}{%- block output_prompt -%}{%- endblock -%}
{%- block output -%}<div class="out">{{ super() }}</div>
{% endblock output -%}
{%- block markdowncell scoped -%}{{ cell.source | markdown2html | strip_files_prefix }}{%- endblock -%}
{%- block rawcell scoped -%}{%- endblock -%}{%- block unknowncell scoped -%}{%- endblock -%}
{%- block execute_result scoped -%}{%- block data_priority scoped -%}{{ super() }}{%- endblock -%}{%- endblock -%}
{%- block stream_stdout -%}<pre>{{ output.text | ansi2html }}</pre>{%- endblock -%}
{%- block stream_stderr -%}<pre class="stderr">{{ output.text | ansi2html }}</pre>{%- endblock -%}
{%- block error -%}<pre class="error">{{ output.traceback | join('\\n') | ansi2html }}</pre>{%- endblock -%}
{%- block data_html scoped -%}{{ output.data['text/html'] }}{%- endblock -%}
{%- block data_markdown scoped -%}{{ output.data['text/markdown'] | markdown2html }}{%- endblock -%}
{%- block data_svg scoped -%}{{ output.data['image/svg+xml'] }}{%- endblock -%}
{%- block data_png scoped -%}
<img alt="" src="data:image/png;base64,{{ output.data['image/png'] | replace('\\n', '') }}">
{%- endblock -%}
{%- block data_jpg scoped -%}
<img alt="" src="data:image/jpeg;base64,{{ output.data['image/jpeg'] | replace('\\n', '') }}">
{%- endblock -%}
{%- block data_latex scoped -%}<pre>{{ output.data['text/latex'] | e }}</pre>{%- endblock -%}
{%- block data_text scoped -%}<pre>{{ output.data['text/plain'] | ansi2html }}</pre>{%- endblock -%}
{%- block data_javascript scoped -%}{%- endblock -%}{%- block data_widget_view scoped -%}{%- endblock -%}
{%- block data_native scoped -%}{%- endblock -%}{%- block data_other scoped -%}{%- endblock -%}
{%- block footer -%}</body></html>
{% endblock footer -%}
"""
_PRIORITY = ["text/html", "image/svg+xml", "image/png", "image/jpeg", "text/markdown", "text/latex", "text/plain"]
_SCRIPT = re.compile(r"<script\b.*?(?:</script\s*>|\Z)", re.IGNORECASE | re.DOTALL)


@dataclass(frozen=True, slots=True)
class PageHead:
    """What the top of the page says of the run."""

    name: str
    run_id: str
    when: str
    status: str
    seconds: float
    error: str | None


def write_page(notebook: Path, page: Path, head: PageHead) -> None:
    """Render an executed notebook into `page`, whole or not at all."""
    content = nbformat.read(notebook, as_version=4)
    for cell in content.cells:
        for output in cell.get("outputs", []):
            _without_scripts(output)
    exporter = HTMLExporter(extra_loaders=[DictLoader({"pysys.html.j2": _TEMPLATE})], template_file="pysys.html.j2")
    exporter.preprocessors = []
    exporter.config.NbConvertBase.display_data_priority = _PRIORITY
    run = {
        "name": head.name,
        "run_id": head.run_id,
        "when": head.when,
        "status": head.status,
        "seconds": head.seconds,
        "error": head.error,
        "title": f"{_title(content, head.name)} {head.when}",
        "style": _STYLE.strip(),
        "notebook": notebook.name,
    }
    body, _ = exporter.from_notebook_node(content, resources={"run": run})
    write_whole(page, body)


def _title(content: nbformat.NotebookNode, name: str) -> str:
    for cell in content.cells:
        if cell.cell_type == "markdown" and cell.source.startswith("# "):
            return str(cell.source.splitlines()[0][2:])
    return name


def _without_scripts(output: nbformat.NotebookNode) -> None:
    data = output.get("data", {})
    for kind in ("text/html", "image/svg+xml"):
        if kind in data:
            data[kind] = _SCRIPT.sub("", "".join(data[kind]))
