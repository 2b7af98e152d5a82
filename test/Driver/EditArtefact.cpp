//===- EditArtefact.cpp - An artefact for another machine -------------------===//
//
// EditArtefact IN OUT FEATURE: a copy whose code claims to need the CPU feature FEATURE.
//
//===----------------------------------------------------------------------===//

#include "otodus/Formats/ArtefactFile.h"

#include <cstdio>

int main(int argc, char **argv) {
  using namespace otodus;
  if (argc != 4) {
    std::fprintf(stderr, "usage: %s IN OUT FEATURE\n", argv[0]);
    return 2;
  }
  Result<formats::ArtefactFile> file = formats::ArtefactFile::open(argv[1]);
  Status status = file.status();
  if (status.isOk()) {
    formats::Artefact artefact = file->artefact();
    for (formats::Program &program : artefact.programs)
      for (formats::Code &code : program.code)
        code.features.push_back(argv[3]);
    status = formats::writeArtefact(argv[2], artefact);
  }
  if (!status.isOk())
    std::fprintf(stderr, "%s\n", status.message().c_str());
  return static_cast<int>(status.code());
}
