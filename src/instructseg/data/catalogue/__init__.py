"""The known datasets: their layouts on disk, their sources and their published counts."""
