"""A page to try a model in the browser. `page`, `draw` and `style` travel with a Space: see `space_files`."""
