"""Style and keys of the review page."""

import json

from .review_session import SUGGESTED
from .reviews import RIGHT, WRONG

#: The colours are those of the page's theme, light or dark.
CSS = """
.gradio-container { overflow-wrap: anywhere; }
#progress p { margin: 0; }
#progress .count { font-size: 1.15rem; font-weight: 600; }
#progress .where { opacity: .75; font-variant-numeric: tabular-nums; }
#progress .message { margin-top: 4px; font-weight: 600; color: var(--error-text-color, #b3263b); }
#decide { gap: 8px; display: grid; grid-template-columns: repeat(6, 1fr); }
#decide button { min-width: 0 !important; height: 100%; }
#right { background: #2f7d55; color: #fff; }
#wrong { background: #b3263b; color: #fff; }
#write { align-items: end; }
#card .pair { display: grid;
  grid-template-columns: repeat(auto-fit, minmax(min(100%, 300px), 1fr));
  border: 1px solid var(--border-color-primary); border-radius: 12px; overflow: hidden;
  background: var(--background-fill-primary); }
#card .pair > :only-child { grid-column: 1 / -1; }
#card .photo { background: var(--background-fill-secondary); display: grid;
  height: clamp(240px, 48vh, 460px);
  place-items: center; min-width: 0; }
#card .photo img { width: 100%; height: 100%; min-height: 0; object-fit: contain; margin: 0; }
#card .facts, #card .nothing { padding: 16px 18px; min-width: 0; }
#card p { margin: 0 0 8px; }
#card .soft { font-size: .88rem; margin: 0 0 4px; opacity: .75; }
#card .soft b { font-variant-numeric: tabular-nums; }
#card .instead { margin-bottom: 12px; }
#card .caption { font-size: 1.3rem; line-height: 1.4; font-weight: 560; }
#card .bar { height: 6px; border-radius: 3px; position: relative; margin: 14px 7px 12px;
  background: linear-gradient(90deg, #d1495b, #edc25e 50%, #4c9f70); }
#card .bar i { position: absolute; top: 50%; width: 14px; height: 14px; margin: -7px 0 0 -7px;
  border-radius: 50%; background: var(--body-text-color);
  border: 3px solid var(--background-fill-primary); }
#card .decision { padding: 6px 10px; border-radius: 8px; border-left: 4px solid #b98c1d;
  background: var(--background-fill-secondary); }
#card .decision.right { border-left-color: #4c9f70; }
#card .decision.wrong { border-left-color: #d1495b; }
#card .other { display: flex; flex-wrap: wrap; gap: 8px 12px; align-items: center;
  font-size: .88rem; }
#card .other img { width: 120px; height: 120px; object-fit: cover; border-radius: 8px; margin: 0;
  flex: none; }
@media (max-width: 1000px) { #decide { grid-template-columns: repeat(3, 1fr); } }
@media (max-width: 560px) { #decide { grid-template-columns: repeat(2, 1fr); } }
"""

#: Keys and texts of the buttons, by their ids.
BUTTONS = {
    WRONG: ("w", "Wrong"),
    RIGHT: ("r", "Right"),
    SUGGESTED: ("s", "Take suggestion"),
    "undo": ("u", "Undo"),
    "previous": ("k", "Back"),
    "next": ("j", "Skip"),
}

_KEYS = {letter: key for key, (letter, _) in BUTTONS.items()}

#: Single letters press the buttons, except while something is written.
HEAD = """
<script>
document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || event.repeat) return;
  const target = event.target;
  const isText = target.isContentEditable || target.tagName === "TEXTAREA" ||
    (target.tagName === "INPUT" && !["radio", "checkbox", "button"].includes(target.type));
  if (isText) {
    if (event.key === "Escape") target.blur();
    return;
  }
  const buttons = { ...KEYS };
  const boxes = { e: "new_caption", "/": "search" };
  if (target.type !== "radio") {
    Object.assign(buttons, { ArrowLeft: "previous", ArrowRight: "next" });
  }
  const key = event.key.length === 1 ? event.key.toLowerCase() : event.key;
  if (key in buttons) {
    document.getElementById(buttons[key])?.click();
  } else if (key in boxes) {
    const box = document.querySelector(`#${boxes[key]} textarea, #${boxes[key]} input`);
    box?.focus();
    box?.select();
  } else {
    return;
  }
  event.preventDefault();
});
</script>
""".replace("KEYS", json.dumps(_KEYS))
