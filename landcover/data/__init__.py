"""From a source to tensors: archives, tables, tiles, splits, shards."""
