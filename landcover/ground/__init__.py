"""What every room stands on: the dataset's facts, the parameters, errors, files, processes, the command line."""
