"""What dvc.yaml runs, a module a stage."""
