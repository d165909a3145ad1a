"""What every benchmark needs: lines of results, turns between processes, peak memory, the machine in words, the record."""
