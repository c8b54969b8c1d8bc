"""The parts of `i2i data check`: files are read into tables, findings are read off the tables, a report is written."""
