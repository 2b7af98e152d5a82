//===- LayoutRowsTest.cpp - Which layouts a device has confirmed -----------===//
//
// Lists the rows of SimOps.def about layouts. Each has kernels that show it, so that a machine with
// a GPU can record what it does (docs/Simulator.md); a row that says it is confirmed has records.
//
//===----------------------------------------------------------------------===//

#include "otodus/ABI/Sim.h"

#include <filesystem>
#include <fstream>
#include <gtest/gtest.h>
#include <sstream>

namespace {

struct Row {
  std::string id, op;
  bool isConfirmed;
  std::string kernels;
};

const char *nameOf(OtodusSimOp op) {
  switch (op) {
#define OTODUS_SIM_OP(ID, NAME, WHO, MASK, HANDLER, ATTRIBUTES)                                    \
  case OTODUS_SIM_OP_##ID:                                                                         \
    return NAME;
#include "otodus/ABI/SimOps.def"
  default:
    return "";
  }
}

enum { Unconfirmed, Confirmed };
const Row kRows[] = {
#define OTODUS_SIM_LAYOUT(ID, STATE, KERNELS)                                                      \
  {#ID, nameOf(OTODUS_SIM_OP_##ID), STATE == Confirmed, KERNELS},
#include "otodus/ABI/SimOps.def"
};

TEST(LayoutRows, EachHasKernelsThatShowIt) {
  const std::filesystem::path folder = std::filesystem::path(OTODUS_SIM_TEST_FOLDER) / "device";
  for (const Row &row : kRows) {
    std::ifstream file(folder / row.kernels);
    ASSERT_TRUE(file) << row.kernels;
    std::stringstream text;
    text << file.rdbuf();
    EXPECT_NE(text.str().find(row.op + " "), std::string::npos)
        << row.kernels << " does not use " << row.op;
    if (row.isConfirmed)
      EXPECT_TRUE(std::filesystem::exists(folder / "golden" / (row.id + ".txt")))
          << row.id << " is said to be confirmed, but nothing is recorded of it";
    else
      std::printf("unconfirmed on a device: %s (%s)\n", row.op.c_str(), row.kernels.c_str());
  }
}

} // namespace
