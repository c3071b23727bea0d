"""The report's section on the data: one module for each question that a reader asks of them."""
