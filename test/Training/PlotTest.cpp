//===- PlotTest.cpp --------------------------------------------------------===//

#include "TestSupport.h"
#include "otodus/Training/Plot.h"

using namespace otodus;
using namespace otodus::training;
using test::expectError;
using test::TemporaryFolder;
using test::writeText;

TEST(Plot, ReadsALog) {
  TemporaryFolder folder;
  writeText(folder / "log.jsonl", "{\"step\":1,\"loss\":3.5}\n{\"step\":2,\"loss\":\"NaN\"}\n"
                                  "{\"step\":2,\"validation_loss\":3.25}\n{\"step\":3,\"lo");
  Result<LossCurve> curve = readLossCurve(folder.path());
  ASSERT_TRUE(curve.isOk()) << curve.status().message();
  EXPECT_EQ(curve->training, (std::vector<std::pair<int64_t, double>>{{1, 3.5}}));
  EXPECT_EQ(curve->validation, (std::vector<std::pair<int64_t, double>>{{2, 3.25}}));
}

TEST(Plot, Errors) {
  TemporaryFolder folder;
  expectError(readLossCurve(folder / "none").status(), Code::File, {"none"});
  writeText(folder / "a", "{\"step\":1,\"loss\":3.5}\nhello\n");
  expectError(readLossCurve(folder / "a").status(), Code::Input, {"a:2: expected a line"});
  writeText(folder / "b", "");
  expectError(readLossCurve(folder / "b").status(), Code::Input, {"has none"});
}

TEST(Plot, Svg) {
  LossCurve curve;
  curve.name = "a<b";
  for (int64_t step = 1; step <= 5000; ++step)
    curve.training.emplace_back(step, 1 + 4 / double(step));
  curve.validation = {{2500, 1.5}, {5000, 1.25}};
  std::string svg = plotSvg({curve, curve});
  EXPECT_EQ(svg.rfind("<svg xmlns", 0), 0u);
  EXPECT_NE(svg.find("a&lt;b: training 1.001, validation 1.2500 (best 1.2500 at step 5000)"),
            std::string::npos);
  EXPECT_NE(svg.find("</svg>"), std::string::npos);
  EXPECT_EQ(svg.find("nan"), std::string::npos);
  EXPECT_LT(svg.size(), 300000u); // points that cannot be seen are left out
  // One point, and a flat line.
  EXPECT_EQ(plotSvg({{"x", {{1, 2.0}}, {}}}).find("nan"), std::string::npos);
}
