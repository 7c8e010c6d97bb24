// A heap of its own for torch's large CPU tensors: pages come from the kernel once and stay.
//
// One range of addresses is reserved, as large as the machine's memory; only pages that are written
// to are ever taken. A block goes to the lowest gap that it fits into. A training step frees almost
// all that it takes, so that gaps grow together again after each micro-batch, whatever its lengths:
// nothing small and lasting stands between them, as it does in the heap of malloc.
#include <c10/core/Allocator.h>
#include <c10/core/CPUAllocator.h>
#include <sys/mman.h>
#include <unistd.h>

#include <map>
#include <mutex>
#include <unordered_map>

namespace {

constexpr size_t kSmallest = 256 << 10;  // bytes; smaller blocks are torch's own allocator's
constexpr size_t kLine = 64, kHugePage = 2 << 20;

class Pool final : public c10::Allocator {
 public:
  Pool(char* start, size_t bytes, c10::Allocator* base)
      : start_(start), bytes_(bytes), base_(base), gaps_{{start, bytes}} {}

  c10::DataPtr allocate(size_t bytes) override {
    void* block = bytes < kSmallest ? nullptr : take(bytes);
    if (block)
      c10::profiledCPUMemoryReporter().New(block, bytes);
    else
      block = base_->raw_allocate(bytes);
    return {block, block, &release, c10::Device(c10::DeviceType::CPU)};
  }

  c10::DeleterFnPtr raw_deleter() const override { return &release; }

  void copy_data(void* to, const void* from, size_t bytes) const override {
    default_copy_data(to, from, bytes);
  }

  // Returns all pages that lie wholly in gaps to the kernel.
  void give_back() {
    std::lock_guard<std::mutex> guard(mutex_);
    for (const auto& [first, bytes] : gaps_) {
      const uintptr_t begin = (uintptr_t(first) + kHugePage - 1) / kHugePage * kHugePage;
      const uintptr_t end =
          std::min(uintptr_t(first) + bytes, uintptr_t(highest_)) / kHugePage * kHugePage;
      if (begin < end) madvise(reinterpret_cast<void*>(begin), end - begin, MADV_DONTNEED);
    }
  }

  // Bytes in use, the most that ever were, and the end of what was ever touched.
  void numbers(int64_t* found) {
    std::lock_guard<std::mutex> guard(mutex_);
    found[0] = int64_t(used_);
    found[1] = int64_t(most_);
    found[2] = highest_ - start_;
  }

 private:
  static void release(void* block);

  bool owns(void* block) const { return block >= start_ && block < start_ + bytes_; }

  void* take(size_t bytes) {
    // An odd number of cache lines, so that blocks of one size do not all lie at one place of a
    // page, where reading one waits for writing another.
    const size_t size = ((bytes + kLine - 1) / kLine | 1) * kLine;
    std::lock_guard<std::mutex> guard(mutex_);
    auto gap = gaps_.begin();
    while (gap != gaps_.end() && gap->second < size) ++gap;
    if (gap == gaps_.end()) return nullptr;
    const auto [block, room] = *gap;
    gaps_.erase(gap);
    if (room > size) gaps_[block + size] = room - size;
    sizes_[block] = size;
    used_ += size;
    most_ = std::max(most_, used_);
    highest_ = std::max(highest_, block + size);
    return block;
  }

  void give(char* block) {
    std::lock_guard<std::mutex> guard(mutex_);
    const auto found = sizes_.find(block);
    size_t size = found->second;
    sizes_.erase(found);
    used_ -= size;
    auto next = gaps_.lower_bound(block);
    if (next != gaps_.end() && next->first == block + size) {
      size += next->second;
      next = gaps_.erase(next);
    }
    if (next != gaps_.begin()) {
      const auto before = std::prev(next);
      if (before->first + before->second == block) {
        before->second += size;
        return;
      }
    }
    gaps_[block] = size;
  }

  char* const start_;
  const size_t bytes_;
  c10::Allocator* const base_;
  std::mutex mutex_;
  std::map<char*, size_t> gaps_;
  std::unordered_map<char*, size_t> sizes_;
  size_t used_ = 0, most_ = 0;
  char* highest_ = start_;
};

Pool* pool = nullptr;  // never ends: tensors may outlive everything

void Pool::release(void* block) {
  if (pool->owns(block)) {
    c10::profiledCPUMemoryReporter().Delete(block);
    pool->give(static_cast<char*>(block));
  } else {
    pool->base_->raw_deallocate(block);
  }
}

}  // namespace

// Makes torch take its large tensors from the pool from now on; 1, or 0 if no range can be reserved.
extern "C" int64_t pool_start() {
  if (pool) return 1;
  const size_t bytes =
      size_t(sysconf(_SC_PHYS_PAGES)) * size_t(sysconf(_SC_PAGESIZE)) / kHugePage * kHugePage;
  void* range = mmap(nullptr, bytes + kHugePage, PROT_READ | PROT_WRITE,
                     MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (range == MAP_FAILED) return 0;
  const uintptr_t start = (uintptr_t(range) + kHugePage - 1) / kHugePage * kHugePage;
  madvise(reinterpret_cast<void*>(start), bytes, MADV_HUGEPAGE);  // where the kernel has them
  pool = new Pool(reinterpret_cast<char*>(start), bytes, c10::GetCPUAllocator());
  c10::SetCPUAllocator(pool, 255);
  return 1;
}

extern "C" void pool_give_back() {
  if (pool) pool->give_back();
}

extern "C" void pool_numbers(int64_t* found) {
  if (pool) pool->numbers(found);
}
