"""What is measured on: data sets and studios, made anew from fixed seeds."""
