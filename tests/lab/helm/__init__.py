"""The real Helm, for the chart's tests."""
