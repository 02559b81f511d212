"""What people see: the command line, and the reading of findings and corpus files."""
