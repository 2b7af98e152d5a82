//===- Library.cpp - libotodus-sim.so is the simulator as a whole ----------===//

#include "otodus/ABI/SimLibrary.h"
