"""Starting the processes of a run, connecting them and ending them."""
