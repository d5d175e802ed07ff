"""What tests stand on: a whole stack on free ports, a scripted browser, and bytes on a wire."""
