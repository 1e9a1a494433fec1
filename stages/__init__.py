"""What dvc.yaml runs, one module per stage."""
