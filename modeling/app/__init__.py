"""A page to try a model in the browser. `page`, `draw`, `style` and `crops` travel with a Space: see `space_files`."""
