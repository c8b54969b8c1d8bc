"""A folder of pictures -> data and a recipe that can be trained: check, plan, download, pairs. Trains nothing."""
