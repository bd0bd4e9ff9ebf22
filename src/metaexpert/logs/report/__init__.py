"""A report on what experts did and earned: its figures, and one page of HTML that shows them."""
