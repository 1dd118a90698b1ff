"""What the page looks like: its words in small and large, in light and dark. No font and no script from elsewhere."""

# Okabe & Ito's blue and vermilion, told apart under every common colour blindness; lighter ones on a dark ground.
CSS = """
.affect, .notice { --said: #0072B2; --true: #B34700; --line: #6b7280; --faint: #e5e7eb; --warn: #b45309;
  --quiet: #52525b; }
.dark .affect, .dark .notice { --said: #56B4E9; --true: #E69F00; --line: #9ca3af; --faint: #3f3f46; --warn: #f59e0b;
  --quiet: #a1a1aa; }
.gradio-container { font-size: 16px; }
.notice { border-left: 4px solid var(--warn); padding: 2px 12px; font-size: 14px; line-height: 1.45; }
.notice p, .affect p { margin: 4px 0; }
.affect { color: var(--body-text-color); line-height: 1.45; }
.affect .quiet { color: var(--quiet); font-size: 14px; }
.affect .alert { border-left: 4px solid var(--warn); padding: 2px 12px; overflow-wrap: anywhere; }
.affect h1 { font-size: 24px; line-height: 1.25; margin: 0 0 8px; overflow-wrap: anywhere; }
.affect .face { border-top: 1px solid var(--faint); max-width: 760px; padding: 12px 0; display: grid; gap: 8px 20px;
  grid-template-columns: repeat(auto-fit, minmax(min(100%, 290px), 1fr)); align-items: start; }
.affect .head { grid-column: 1 / -1; display: flex; gap: 14px; align-items: center; }
.affect .head img { width: 112px; height: 112px; object-fit: contain; border-radius: 6px; flex: none; margin: 0; }
.affect .head div { min-width: 0; overflow-wrap: anywhere; }
.affect h3 { font-size: 18px; margin: 0; color: var(--body-text-color); }
.affect table { width: 100%; border-collapse: collapse; border: 0; margin: 0; font-size: 15px; }
.affect caption { text-align: left; font-size: 14px; padding-bottom: 4px; color: var(--quiet); }
.affect th, .affect td { padding: 3px 0; border: 0; background: none; text-align: left; font-weight: normal; }
.affect tr { border: 0; background: none; }
.affect th { width: 5.6em; color: var(--body-text-color); }
.affect .member th { font-weight: 700; }
.affect td.mark { width: 1.4em; text-align: center; color: var(--said); font-weight: 700; }
.affect td.number { width: 4.2em; text-align: right; font-variant-numeric: tabular-nums; font-size: 14px;
  line-height: 1.15; white-space: nowrap; }
.affect .track { background: var(--faint); border-radius: 3px; overflow: hidden; }
.affect .said, .affect .true { display: block; height: 13px; background: var(--said); }
.affect .true { height: 7px; margin-top: 2px; background: var(--true); }
.affect i.said, .affect i.true { display: inline-block; width: 22px; height: 10px; margin: 0 5px 0 0; }
.affect i.dot, .affect i.ring { display: inline-block; width: 11px; height: 11px; border-radius: 50%;
  margin: 0 7px 0 0; }
.affect i.dot { background: var(--said); }
.affect i.ring { border: 3px solid var(--true); box-sizing: border-box; }
.affect td.number .of-truth { color: var(--true); }
.examples { gap: 8px; flex-wrap: nowrap; }
.example { min-height: 92px; padding: 0 4px 4px; align-items: flex-end; background-size: cover;
  background-position: center; font-size: 13px; color: #fff; text-shadow: 0 0 3px #000, 0 0 3px #000; }
.affect svg { width: 100%; max-width: 330px; height: auto; display: block; margin: 0 auto; }
.affect svg text { fill: var(--body-text-color); font-size: 11px; text-anchor: middle; }
.affect svg .place { fill: var(--quiet); font-style: italic; dominant-baseline: middle; paint-order: stroke;
  stroke: var(--body-background-fill); stroke-width: 4px; }
.affect svg .axis { stroke: var(--line); fill: none; stroke-width: 1; }
.affect svg .point { fill: var(--said); }
.affect svg .true-point { fill: none; stroke: var(--true); stroke-width: 3; }
"""
