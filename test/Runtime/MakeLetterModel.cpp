//===- MakeLetterModel.cpp - Writes LetterModel's artefact to a file -------===//

#include "LetterModel.h"

#include <cstdio>

int main(int argc, char **argv) {
  if (argc != 2) {
    std::fprintf(stderr, "usage: %s OUT.oto\n", argv[0]);
    return 2;
  }
  otodus::Status status = letters::write(argv[1]);
  if (!status.isOk())
    std::fprintf(stderr, "%s\n", status.message().c_str());
  return static_cast<int>(status.code());
}
