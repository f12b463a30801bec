//===- Main.cpp - Entry of a compiled model -------------------------------===//
#include "Run.h"

int main(int argc, char **argv) { return qc::rt::runProgram(argc, argv); }
