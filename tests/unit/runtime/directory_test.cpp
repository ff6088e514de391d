// Goal: names are listed, made, moved and removed, whatever bytes they have; a file is replaced in
// one step; errors are the errnos of the system. Method: a folder of the test's own, over io_uring
// on the real file system and in the simulation on the one in memory: the same expectations.
#include "runtime/directory.hpp"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

#include <algorithm>
#include <cerrno>
#include <string>
#include <utility>
#include <vector>

#include "runtime/runtime.hpp"
#include "runtime/task_group.hpp"
#include "runtime/timeout.hpp"
#include "tests/support/open_descriptors.hpp"
#include "tests/support/own_folder.hpp"
#include "tests/support/simulated.hpp"

namespace corelane {
namespace {

using namespace runtime;
using tests::in_own_folder;
using tests::listing_of;

Task<void> put(std::string path, std::string content) {
  const auto written = co_await replace_file(std::move(path), std::move(content));
  EXPECT_TRUE(written) << (written ? "" : describe(written.error()));
}

TEST(Directory, ListsWhatIsInItAndNothingElse) {
  in_own_folder([](const std::string& folder) -> Task<void> {
    co_await put(folder + "/file", "content");
    EXPECT_TRUE(co_await make_directory(folder + "/below"));
    co_await put(folder + "/below/hidden", "");
    std::vector<std::string> files;
    std::vector<std::string> directories;
    auto entries = list_directory(folder);
    for (;;) {
      const auto entry = co_await entries.next();
      if (!entry) break;
      EXPECT_TRUE(*entry);
      if (!*entry) continue;
      ((*entry)->kind == EntryKind::directory ? directories : files).push_back((*entry)->name);
    }
    EXPECT_EQ(files, std::vector<std::string>{"file"});
    EXPECT_EQ(directories, std::vector<std::string>{"below"});
  });
}

TEST(Directory, ListsMoreNamesThanFitIntoOnePiece) {
  in_own_folder([](const std::string& folder) -> Task<void> {
    constexpr int kNames = 1500;
    std::vector<std::string> expected;
    for (int i = 0; i < kNames; ++i) {
      expected.push_back("a name that is somewhat longer " + std::to_string(i));
      auto file = co_await File::open(folder + "/" + expected.back(), O_CREAT | O_WRONLY);
      EXPECT_TRUE(file);
    }
    std::sort(expected.begin(), expected.end());
    auto directory = co_await Directory::open(folder);
    EXPECT_TRUE(directory);
    std::vector<std::string> found;
    int pieces = 0;
    for (;; ++pieces) {
      const auto entries = co_await directory->read_some();
      EXPECT_TRUE(entries);
      if (!entries || entries->empty()) break;
      for (const DirectoryEntry& entry : *entries) found.push_back(entry.name);
    }
    std::sort(found.begin(), found.end());
    EXPECT_EQ(found, expected);
    EXPECT_GT(pieces, 1);
    EXPECT_TRUE(co_await directory->close());
  });
}

TEST(Directory, ListsNamesThatBeginLikeASubdirectory) {
  in_own_folder([](const std::string& folder) -> Task<void> {
    EXPECT_TRUE(co_await make_directory(folder + "/sub"));
    EXPECT_TRUE(co_await make_directory(folder + "/sub/below"));
    for (const char* name : {"/sub/a", "/sub/z", "/sub/below/c", "/sub-", "/sub.x", "/sub0"}) {
      co_await put(folder + name, "");
    }
    EXPECT_EQ(co_await listing_of(folder), "sub/sub-/sub.x/sub0");
  });
}

TEST(Directory, TakesNamesOfAnyBytes) {
  in_own_folder([](const std::string& folder) -> Task<void> {
    const std::vector<std::string> names{" ",   "a b", "line\nbreak",        "\xff\xfe",
                                         "-rf", "...", std::string(255, 'x')};
    for (const std::string& name : names) co_await put(folder + "/" + name, name);
    std::vector<std::string> sorted = names;
    std::sort(sorted.begin(), sorted.end());
    std::string all;
    for (const std::string& name : sorted) all += (all.empty() ? "" : "/") + name;
    EXPECT_EQ(co_await listing_of(folder), all);
    for (const std::string& name : names) {
      EXPECT_TRUE(co_await rename_path(folder + "/" + name, folder + "/moved"));
      const auto back = co_await read_file(folder + "/moved", 1000);
      EXPECT_TRUE(back && *back == name);
      EXPECT_TRUE(co_await remove_file(folder + "/moved"));
    }
    EXPECT_EQ(co_await listing_of(folder), "");
    const auto too_long = co_await replace_file(folder + "/" + std::string(256, 'x'), "");
    EXPECT_TRUE(!too_long && too_long.error() == Error::from_errno(ENAMETOOLONG));
    const auto made = co_await make_directory(folder + "/" + std::string(256, 'x'));
    EXPECT_TRUE(!made && made.error() == Error::from_errno(ENAMETOOLONG));
    EXPECT_EQ(co_await listing_of(folder), "");
  });
}

Task<void> expect_errno(Task<Result<void>> task, int number, int line) {
  const auto result = co_await std::move(task);
  EXPECT_FALSE(result) << "line " << line;
  if (!result) {
    EXPECT_EQ(describe(result.error()), describe(Error::from_errno(number))) << "line " << line;
  }
}

TEST(Directory, SaysWhichErrorItWas) {
  in_own_folder([](const std::string& folder) -> Task<void> {
    co_await put(folder + "/file", "x");
    EXPECT_TRUE(co_await make_directory(folder + "/full"));
    co_await put(folder + "/full/inside", "x");
    const std::string file = folder + "/file";
    const std::string full = folder + "/full";
    const std::string none = folder + "/none";
    co_await expect_errno(remove_file(none), ENOENT, __LINE__);
    co_await expect_errno(remove_file(full), EISDIR, __LINE__);
    co_await expect_errno(remove_directory(full), ENOTEMPTY, __LINE__);
    co_await expect_errno(remove_directory(file), ENOTDIR, __LINE__);
    co_await expect_errno(make_directory(full), EEXIST, __LINE__);
    co_await expect_errno(make_directory(none + "/below"), ENOENT, __LINE__);
    co_await expect_errno(make_directory(file + "/below"), ENOTDIR, __LINE__);
    co_await expect_errno(rename_path(none, file), ENOENT, __LINE__);
    co_await expect_errno(rename_path(file, full), EISDIR, __LINE__);
    co_await expect_errno(rename_path(full, file), ENOTDIR, __LINE__);
    co_await expect_errno(rename_path(full, full + "/inside/self"), ENOTDIR, __LINE__);
    co_await expect_errno(rename_path(full, full + "/self"), EINVAL, __LINE__);
    co_await expect_errno(rename_path(file, full + "/inside", IfExists::fail), EEXIST, __LINE__);
    const auto no_directory = co_await Directory::open(file);
    EXPECT_TRUE(!no_directory && no_directory.error() == Error::from_errno(ENOTDIR));
    auto entries = list_directory(none);
    const auto entry = co_await entries.next();
    EXPECT_TRUE(entry && !*entry && entry->error() == Error::from_errno(ENOENT));
    EXPECT_FALSE(co_await entries.next());
  });
}

TEST(Directory, NamesWithANulAreRefusedAndNothingElseIsUsedInstead) {
  in_own_folder([](const std::string& folder) -> Task<void> {
    co_await put(folder + "/a", "kept");
    EXPECT_TRUE(co_await make_directory(folder + "/empty"));
    const auto cut = [&folder](const char* name) {
      return folder + "/" + name + std::string("\0.tmp", 5);
    };
    const auto refused = [](const auto& result) {
      return !result && result.error().code == ErrorCode::invalid_argument;
    };
    EXPECT_TRUE(refused(co_await remove_file(cut("a"))));
    EXPECT_TRUE(refused(co_await remove_directory(cut("empty"))));
    EXPECT_TRUE(refused(co_await make_directory(cut("made"))));
    EXPECT_TRUE(refused(co_await rename_path(cut("a"), folder + "/b")));
    EXPECT_TRUE(refused(co_await rename_path(folder + "/a", cut("b"))));
    EXPECT_TRUE(refused(co_await replace_file(cut("a"), "other")));
    EXPECT_TRUE(refused(co_await copy_file(cut("a"), folder + "/b")));
    EXPECT_TRUE(refused(co_await copy_file(folder + "/a", cut("b"))));
    EXPECT_TRUE(refused(co_await File::open(cut("a"), O_RDONLY)));
    EXPECT_TRUE(refused(co_await File::status(cut("a"))));
    EXPECT_TRUE(refused(co_await Directory::open(cut("empty"))));
    EXPECT_EQ(co_await listing_of(folder), "a/empty");
    EXPECT_EQ((co_await read_file(folder + "/a", 10)).value_or(""), "kept");
  });
}

TEST(Directory, MakesFilesWithoutANameWithTheirMode) {
  if (tests::kIsSimulated) GTEST_SKIP() << "not in the simulation";
  in_own_folder([](const std::string& folder) -> Task<void> {
    const auto directory = co_await Directory::open(folder);
    EXPECT_TRUE(directory);
    auto file = co_await directory->open_file(".", O_TMPFILE | O_RDWR, 0640);
    if (!file && file.error() == Error::from_errno(EOPNOTSUPP)) co_return;
    EXPECT_TRUE(file);
    if (!file) co_return;
    const auto status = co_await file->status();
    EXPECT_EQ(status ? status->mode & 07777 : 0u, 0640u);
  });
}

TEST(Directory, MovesWithEverythingBelowIt) {
  in_own_folder([](const std::string& folder) -> Task<void> {
    EXPECT_TRUE(co_await make_directory(folder + "/from"));
    EXPECT_TRUE(co_await make_directory(folder + "/from/deep"));
    co_await put(folder + "/from/deep/file", "content");
    co_await put(folder + "/from2", "a neighbour");
    EXPECT_TRUE(co_await rename_path(folder + "/from", folder + "/to"));
    const auto text = co_await read_file(folder + "/to/deep/file", 100);
    EXPECT_TRUE(text && *text == "content");
    EXPECT_EQ(co_await listing_of(folder), "from2/to");
    const auto status = co_await File::status(folder + "/to/deep");
    EXPECT_TRUE(status && S_ISDIR(status->mode));
  });
}

TEST(Directory, OpensNothingOutsideOfIt) {
  in_own_folder([](const std::string& folder) -> Task<void> {
    EXPECT_TRUE(co_await make_directory(folder + "/base"));
    EXPECT_TRUE(co_await make_directory(folder + "/base/sub"));
    co_await put(folder + "/secret", "secret");
    co_await put(folder + "/base/sub/file", "content");
    auto root = co_await Directory::open(folder + "/base");
    EXPECT_TRUE(root);
    for (const std::string path : {"../secret", "sub/../../secret", "/etc/passwd", "..", "/"}) {
      const auto file = co_await root->open_file(path, O_RDONLY);
      EXPECT_TRUE(!file && file.error() == Error::from_errno(EXDEV)) << path;
    }
    for (const std::string path : {"sub/file", "./sub/file", "sub/../sub//file"}) {
      const auto file = co_await root->open_file(path, O_RDONLY);
      EXPECT_TRUE(file) << path;
    }
    const auto cut = co_await root->open_file(std::string("sub/file\0.html", 14), O_RDONLY);
    EXPECT_TRUE(!cut && cut.error().code == ErrorCode::invalid_argument);
    const auto sub = co_await root->open_directory("sub");
    EXPECT_TRUE(sub);
    const auto made = co_await sub->open_file("new", O_CREAT | O_WRONLY);
    EXPECT_TRUE(made);
    EXPECT_EQ(co_await listing_of(folder + "/base/sub"), "file/new");
  });
}

TEST(Directory, FailedReplacementsLeaveTheOldContentAndNothingElse) {
  in_own_folder([](const std::string& folder) -> Task<void> {
    co_await put(folder + "/file", "old");
    co_await put(folder + "/file", "new");
    const auto text = co_await read_file(folder + "/file", 100);
    EXPECT_TRUE(text && *text == "new");
    EXPECT_TRUE(co_await make_directory(folder + "/taken"));
    co_await expect_errno(replace_file(folder + "/taken", "x"), EISDIR, __LINE__);
    co_await expect_errno(replace_file(folder + "/none/file", "x"), ENOENT, __LINE__);
    EXPECT_EQ(co_await listing_of(folder), "file/taken");
  });
}

// A cancel at each of the first microseconds: what is asked for is done, or not, and never in part.
TEST(Directory, ACancelledReplacementIsWholeOrNot) {
  const std::size_t before = tests::open_descriptors();
  in_own_folder([](const std::string& folder) -> Task<void> {
    const std::string old(100'000, 'o');
    const std::string fresh(200'000, 'n');
    co_await put(folder + "/file", old);
    for (int i = 0; i < 40; ++i) {
      const auto done =
          co_await with_timeout(i * 10 * kMicrosecond, replace_file(folder + "/file", fresh));
      EXPECT_TRUE(done || done.error().code == ErrorCode::timed_out);
      const auto text = co_await read_file(folder + "/file", 1'000'000);
      EXPECT_TRUE(text && (*text == old || *text == fresh));
      EXPECT_EQ(co_await listing_of(folder), "file");
    }
  });
  EXPECT_EQ(tests::open_descriptors(), before);
}

TEST(Directory, ACancelledListingClosesIt) {
  const std::size_t before = tests::open_descriptors();
  in_own_folder([](const std::string& folder) -> Task<void> {
    auto directory = co_await Directory::open(folder);
    EXPECT_TRUE(directory);
    // One that is cancelled before it begins.
    TaskGroup group("cancelled");
    const auto reads = [](Directory* from) -> Task<void> {
      const auto entries = co_await from->read_some();
      EXPECT_TRUE(!entries && entries.error().code == ErrorCode::cancelled);
    };
    group.spawn("reads", reads, &*directory);
    group.cancel();
    co_await group.join();
    const auto again = co_await directory->read_some();
    EXPECT_TRUE(!again && again.error().code == ErrorCode::closed);
  });
  EXPECT_EQ(tests::open_descriptors(), before);
}

}  // namespace
}  // namespace corelane
