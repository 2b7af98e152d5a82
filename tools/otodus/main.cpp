//===- main.cpp - The program `otodus` -------------------------------------===//

#include "otodus/Driver/Driver.h"

int main(int argc, char **argv) { return otodus::driverMain(argc, argv); }
