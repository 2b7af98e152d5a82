//===- FakeSim.cpp - A simulator that simulates nothing --------------------===//

#include "FakeSim.h"

#include <cstring>
#include <map>
#include <sstream>
#include <string>
#include <vector>

namespace {
struct Kernel {
  OtodusKernel function = nullptr;
  int buffers = 0;
  OtodusSimStatus status = OTODUS_SIM_OK;
  std::vector<std::string> reports;
};
struct Range {
  size_t bytes;
  std::string name;
  size_t written = 0;
};
std::map<int, Kernel> kernels;
std::map<char *, Range> ranges;
std::vector<std::string> reports;
std::string shown, faults;
OtodusSimOptions lastOptions;
int live = 0;

Range *rangeOf(const void *at, size_t bytes) {
  auto *address = const_cast<char *>(static_cast<const char *>(at));
  auto next = ranges.upper_bound(address);
  if (next == ranges.begin())
    return nullptr;
  --next;
  return address + bytes <= next->first + next->second.bytes ? &next->second : nullptr;
}
} // namespace

struct OtodusSimulator {};

extern "C" {
void fakeSimKernel(int number, OtodusKernel function, int buffers) {
  kernels[number].function = function;
  kernels[number].buffers = buffers;
}
void fakeSimFail(int number, OtodusSimStatus status, const char *text) {
  kernels[number].status = status;
  kernels[number].reports.clear();
  std::istringstream lines(text);
  for (std::string line; std::getline(lines, line);)
    kernels[number].reports.push_back(line);
}
OtodusSimOptions fakeSimOptions(void) { return lastOptions; }
const char *fakeSimRanges(void) {
  shown.clear();
  for (const auto &[at, range] : ranges)
    shown += range.name + " " + std::to_string(range.bytes) +
             (range.written ? " written\n" : " not written\n");
  return shown.c_str();
}
const char *fakeSimFaults(void) { return faults.c_str(); }
int fakeSimLive(void) { return live + static_cast<int>(ranges.size()); }

uint32_t otodusSimVersion(void) { return OTODUS_SIM_LIBRARY_VERSION; }
OtodusSimulator *otodusSimCreate(const OtodusSimOptions *options, char *error, size_t errorBytes) {
  lastOptions = *options;
  if (options->size != sizeof(OtodusSimOptions)) {
    std::strncpy(error, "the size of the options", errorBytes);
    return nullptr;
  }
  ++live;
  return new OtodusSimulator();
}
void otodusSimDestroy(OtodusSimulator *simulator) {
  --live;
  delete simulator;
}
int otodusSimRegister(OtodusSimulator *, void *base, size_t bytes, const char *name) {
  auto *begin = static_cast<char *>(base);
  for (const auto &[at, range] : ranges)
    if (begin < at + range.bytes + 256 && at < begin + bytes + 256) {
      faults += std::string(name) + " is too near to " + range.name + "\n";
      return 1;
    }
  ranges[begin] = {bytes, name};
  return 0;
}
void otodusSimUnregister(OtodusSimulator *, void *base) {
  if (!ranges.erase(static_cast<char *>(base)))
    faults += "a range is forgotten that was not known\n";
}
void otodusSimInitialised(OtodusSimulator *, const void *at, size_t bytes, int initialised) {
  if (Range *range = rangeOf(at, bytes))
    range->written = initialised ? bytes : 0;
  else
    faults += "bytes outside all ranges\n";
}
OtodusSimStatus otodusSimLaunch(OtodusSimulator *, const OtodusSimLaunch *launch) {
  uint64_t number;
  std::memcpy(&number, reinterpret_cast<const void *>(launch->kernel), sizeof(number));
  Kernel &kernel = kernels[static_cast<int>(number)];
  reports = kernel.reports;
  std::vector<void *> buffers;
  for (int i = 0; i < kernel.buffers; ++i) {
    buffers.push_back(*static_cast<void **>(launch->params[i]));
    if (!rangeOf(buffers.back(), 1))
      faults += "a buffer of no range\n";
  }
  OtodusKernelArguments arguments = {buffers.data(), 0, 0, 0};
  int64_t *sizes[] = {&arguments.batch, &arguments.length, &arguments.rows};
  for (int i = 0; i < 3; ++i)
    *sizes[i] = *static_cast<int64_t *>(launch->params[kernel.buffers + i]);
  if (launch->threads[0] != 64 || launch->cluster[0] != 1 || launch->grid[1] != 1)
    faults += "other figures than the entry's\n";
  if (kernel.status == OTODUS_SIM_OK || kernel.status == OTODUS_SIM_REPORTS)
    kernel.function(&arguments, 0, launch->grid[0]);
  return kernel.status;
}
// Every launch makes eight accesses, one of them twice.
size_t otodusSimBankCount(const OtodusSimulator *) { return 1; }
const char *otodusSimBank(const OtodusSimulator *, size_t) { return "load at x: 8 accesses"; }
void otodusSimGetCounters(const OtodusSimulator *, OtodusSimCounters *counters) {
  static uint64_t calls = 0;
  *counters = {};
  counters->sharedAccesses = 8 * ++calls;
  counters->bankConflicts = calls;
}
size_t otodusSimReportCount(const OtodusSimulator *) { return reports.size(); }
const char *otodusSimReport(const OtodusSimulator *, size_t index) {
  return reports[index].c_str();
}
int otodusSimEncodeTensorMap(OtodusSimTensorMap *map, OtodusSimType type, uint32_t rank, void *base,
                             const uint64_t *size, const uint64_t *, const uint32_t *box,
                             const uint32_t *, uint32_t swizzle, int, char *error,
                             size_t errorBytes) {
  if (rank == 0) {
    std::strncpy(error, "no dimension", errorBytes);
    return 1;
  }
  map->magic = OTODUS_SIM_TENSOR_MAP;
  map->base = reinterpret_cast<uintptr_t>(base);
  map->elementType = static_cast<uint8_t>(type);
  map->swizzle = static_cast<uint8_t>(swizzle);
  map->size[0] = static_cast<uint32_t>(size[0]);
  map->box[0] = static_cast<uint16_t>(box[0]);
  return 0;
}
}
