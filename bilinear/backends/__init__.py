"""One package a framework, one file an operator, the file names those of `bilinear.reference`."""
