//===- FakeSim.h - A simulator that simulates nothing ----------------------===//
//
// libfakesim.so has the functions of libotodus-sim.so. A kernel's code is the 8 bytes of
// its number; what it does is a function of the test.
//
//===----------------------------------------------------------------------===//

#pragma once

#include "otodus/ABI/Kernel.h"
#include "otodus/ABI/SimLibrary.h"

extern "C" {
/// Kernel number `number` runs `function` over all its blocks, `buffers` pointers first.
void fakeSimKernel(int number, OtodusKernel function, int buffers);
/// Launches of the kernel end like this, with these reports, one per line.
void fakeSimFail(int number, OtodusSimStatus status, const char *reports);
/// The options of the last simulator.
OtodusSimOptions fakeSimOptions(void);
/// One line per registered range of the last simulator: "name bytes written/not written".
const char *fakeSimRanges(void);
/// What went wrong by the rules of SimLibrary.h, "" if nothing did.
const char *fakeSimFaults(void);
/// Simulators and ranges that nobody gave back.
int fakeSimLive(void);
}
