"""From one command to the processes of a run, and how they meet, agree and end."""
