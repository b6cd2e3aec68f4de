"""Mathematics as MathML, which browsers typeset without scripts and without a network."""

from typing import Any

from docutils import nodes
from docutils.utils.math.latex2mathml import tex2mathml


def mathml(latex: str, as_block: bool = False) -> str:
    """Translate LaTeX; the transpose is a letter, since fonts place the sign ⊤ too high."""
    made = tex2mathml(latex, as_block=as_block)
    return made.replace("<mi>⊤</mi>", '<mi mathvariant="normal">T</mi>')


def inline(translator: Any, node: nodes.math) -> None:
    translator.body.append(mathml(node.astext()))
    raise nodes.SkipNode


def block(translator: Any, node: nodes.math_block) -> None:
    formula = mathml(node.astext(), as_block=True)
    translator.body.append(f'<div class="formula">{formula}</div>\n')
    raise nodes.SkipNode


def setup(app: Any) -> dict[str, bool]:
    app.add_html_math_renderer("mathml", (inline, None), (block, None))
    return {"parallel_read_safe": True, "parallel_write_safe": True}
