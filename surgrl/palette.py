"""The colours of charts and pages."""

INK, SOFT = "#24303c", "#d9dee3"                # of text; of lines and grids
ACCENT, SECOND = "#b3243c", "#1f7a8c"
# Of groups of runs, in their order: told apart on white and on black, and by eyes that see no red or no green.
SERIES = ("#d1495b", "#2a94a8", "#e0902f", "#8270e0", "#4f9d4f", "#b8569f", "#5b8def", "#8d99a5")
