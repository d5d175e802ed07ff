"""`make release-check`: everything that has to hold of a package before it is published."""
