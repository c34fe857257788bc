/* A stand-in for NVIDIA's management library: the functions that autotune calls, with the signatures and the structures
   of nvml.h, over the hosts described below. FAKE_HOST names one. -DOLD leaves out what older drivers do not have. */

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { SUCCESS = 0, INVALID_ARGUMENT = 2, NOT_SUPPORTED = 3, NOT_FOUND = 6, INSUFFICIENT_SIZE = 7, GPU_IS_LOST = 15 };

struct device;
typedef struct device *nvmlDevice_t;
typedef int nvmlReturn_t;
typedef struct { unsigned long long total, free, used; } nvmlMemory_t;
typedef struct {
    char busIdLegacy[16];
    unsigned int domain, bus, device, pciDeviceId, pciSubSystemId;
    char busId[32];
} nvmlPciInfo_t;
typedef struct {
    unsigned int multiprocessorCount, sharedCopyEngineCount, sharedDecoderCount, sharedEncoderCount, sharedJpegCount,
        sharedOfaCount, gpuInstanceSliceCount, computeInstanceSliceCount;
    unsigned long long memorySizeMB;
} nvmlDeviceAttributes_t;
typedef struct { unsigned int version; unsigned long long total, reserved, free, used; } nvmlMemory_v2_t;
typedef struct { unsigned int pid; unsigned long long usedGpuMemory; } nvmlProcessInfo_v1_t;
typedef struct {
    unsigned int pid;
    unsigned long long usedGpuMemory;
    unsigned int gpuInstanceId, computeInstanceId;
} nvmlProcessInfo_v2_t;
typedef struct { unsigned int version; int sensorType; int temperature; } nvmlTemperature_t;

struct device {
    const char *name, *uuid;
    unsigned long long mib;
    unsigned int pci, limit_mw, default_mw;
    int major, minor;
    unsigned int memory_mhz, bus_bits, nvlinks;
    int mig, lost;
    struct device *slices, *parent; /* of a GPU; of a slice */
    unsigned int gpu_slices, compute_slices, multiprocessors;
};

#define H200 .name = "NVIDIA H200", .mib = 143771, .pci = 0x233510DE, .limit_mw = 700000, .default_mw = 700000, \
    .major = 9, .memory_mhz = 3201, .bus_bits = 6144, .nvlinks = 18
#define A100 .name = "NVIDIA A100-SXM4-80GB", .mib = 81920, .pci = 0x20B210DE, .limit_mw = 400000, .default_mw = 400000, \
    .major = 8, .memory_mhz = 1593, .bus_bits = 5120, .nvlinks = 12

static struct device h200s[] = {
    {H200, .uuid = "GPU-aaaaaaaa-0000-0000-0000-000000000000"},
    {H200, .uuid = "GPU-aaaabbbb-0000-0000-0000-000000000001"},
    {H200, .uuid = "GPU-cccccccc-0000-0000-0000-000000000002", .limit_mw = 450000},
    {0}};
static struct device slices[] = {
    {.name = "NVIDIA A100-SXM4-80GB MIG 3g.40gb", .uuid = "MIG-11111111-0000-0000-0000-000000000000", .mib = 40192,
     .gpu_slices = 3, .compute_slices = 3, .multiprocessors = 42},
    {.name = "NVIDIA A100-SXM4-80GB", .uuid = "MIG-22222222-0000-0000-0000-000000000000", .mib = 9856, .gpu_slices = 2,
     .compute_slices = 1, .multiprocessors = 14},
    {0}};
static struct device a100s[] = {
    {A100, .uuid = "GPU-dddddddd-0000-0000-0000-000000000000"},
    {A100, .uuid = "GPU-eeeeeeee-0000-0000-0000-000000000001", .mig = 1, .slices = slices},
    {A100, .uuid = "GPU-ffffffff-0000-0000-0000-000000000002", .mig = 1},
    {0}};
static struct device mixed[] = {
    {.name = "Tesla T4", .uuid = "GPU-00000004-0000-0000-0000-000000000000", .mib = 15360, .pci = 0x1EB810DE,
     .limit_mw = 70000, .default_mw = 70000, .major = 7, .minor = 5, .memory_mhz = 5001, .bus_bits = 256},
    {H200, .uuid = "GPU-00000200-0000-0000-0000-000000000001"},
    {0}};
static struct device lost[] = {
    {H200, .uuid = "GPU-99999999-0000-0000-0000-000000000000", .lost = 1},
    {H200, .uuid = "GPU-88888888-0000-0000-0000-000000000001"},
    {0}};
static struct device two_h200s[] = {
    {H200, .uuid = "GPU-10000000-0000-0000-0000-000000000001"},
    {H200, .uuid = "GPU-10000000-0000-0000-0000-000000000002"},
    {0}};
static struct device one_h200[] = {{H200, .uuid = "GPU-20000000-0000-0000-0000-000000000001"}, {0}};
static struct device one_a100[] = {{A100, .uuid = "GPU-30000000-0000-0000-0000-000000000001"}, {0}};
static struct device none[] = {{0}};

static int is(const char *host) {
    const char *wanted = getenv("FAKE_HOST");
    return wanted && !strcmp(wanted, host);
}

static struct device *host(void) {
    slices[0].parent = slices[1].parent = &a100s[1];
    return is("h200") ? h200s : is("mig") ? a100s : is("mixed") ? mixed : is("lost") ? lost
        : is("two_h200s") ? two_h200s : is("one_h200") ? one_h200 : is("one_a100") ? one_a100 : none;
}

static nvmlReturn_t text(const char *value, char *out, unsigned int size) {
    if (strlen(value) >= size) return INSUFFICIENT_SIZE;
    strcpy(out, value);
    return SUCCESS;
}

nvmlReturn_t nvmlInit_v2(void) { return is("mismatch") ? 18 : is("unloaded") ? 9 : SUCCESS; }
nvmlReturn_t nvmlSystemGetDriverVersion(char *out, unsigned int size) { return text("580.159.03", out, size); }
nvmlReturn_t nvmlSystemGetCudaDriverVersion_v2(int *out) { *out = 13000; return SUCCESS; }

nvmlReturn_t nvmlDeviceGetCount_v2(unsigned int *out) {
    for (*out = 0; host()[*out].uuid; ++*out) {}
    return SUCCESS;
}

nvmlReturn_t nvmlDeviceGetHandleByIndex_v2(unsigned int index, nvmlDevice_t *out) {
    if (host()[index].lost) return GPU_IS_LOST;
    *out = &host()[index];
    return SUCCESS;
}

nvmlReturn_t nvmlDeviceGetHandleByUUID(const char *uuid, nvmlDevice_t *out) {
    for (struct device *gpu = host(); gpu->uuid; gpu++) {
        if (!strcmp(gpu->uuid, uuid)) return *out = gpu, SUCCESS;
        for (struct device *part = gpu->slices; part && part->uuid; part++)
            if (!strcmp(part->uuid, uuid)) return *out = part, SUCCESS;
    }
    return NOT_FOUND;
}

nvmlReturn_t nvmlDeviceGetName(nvmlDevice_t d, char *out, unsigned int size) { return text(d->name, out, size); }
nvmlReturn_t nvmlDeviceGetUUID(nvmlDevice_t d, char *out, unsigned int size) { return text(d->uuid, out, size); }

#ifdef OLD
typedef nvmlProcessInfo_v1_t info_t;
#define nvmlDeviceGetComputeRunningProcesses_v3 nvmlDeviceGetComputeRunningProcesses
#define nvmlDeviceGetGraphicsRunningProcesses_v3 nvmlDeviceGetGraphicsRunningProcesses
#else
typedef nvmlProcessInfo_v2_t info_t;
#endif

/* The list says "UUID pid MiB;UUID pid MiB;", with -1 MiB where that is not known. */
static nvmlReturn_t running(const char *list, nvmlDevice_t d, unsigned int *count, info_t *out) {
    unsigned int room = *count, pid;
    long long mib;
    char uuid[64];
    *count = 0;
    for (const char *at = list; at && sscanf(at, "%63s %u %lld;", uuid, &pid, &mib) == 3; at = strchr(at, ';') + 1) {
        if (strcmp(uuid, d->uuid)) continue;
        if (*count < room) {
            memset(&out[*count], 0xFF, sizeof *out);
            out[*count].pid = pid;
            out[*count].usedGpuMemory = mib < 0 ? -1ull : (unsigned long long)mib << 20;
        }
        ++*count;
    }
    return *count > room ? INSUFFICIENT_SIZE : SUCCESS;
}

nvmlReturn_t nvmlDeviceGetComputeRunningProcesses_v3(nvmlDevice_t d, unsigned int *count, info_t *out) {
    return running(getenv("FAKE_PROCESSES"), d, count, out);
}

nvmlReturn_t nvmlDeviceGetGraphicsRunningProcesses_v3(nvmlDevice_t d, unsigned int *count, info_t *out) {
    return running(getenv("FAKE_DESKTOP"), d, count, out);
}

#ifndef OLD
nvmlReturn_t nvmlDeviceGetMemoryInfo_v2(nvmlDevice_t d, nvmlMemory_v2_t *out) {
    const char *used = getenv("FAKE_USED_MIB");
    if (out->version != (sizeof *out | 2 << 24)) return INVALID_ARGUMENT;
    out->total = d->mib << 20;
    out->reserved = 600ull << 20;
    out->used = (used ? strtoull(used, NULL, 10) : 0) << 20;
    out->free = out->total - out->reserved - out->used;
    return SUCCESS;
}

nvmlReturn_t nvmlDeviceGetMemoryInfo(nvmlDevice_t d, nvmlMemory_t *out) {
    out->total = d->mib << 20;
    out->free = out->total / 2;
    out->used = out->total - out->free;
    return SUCCESS;
}

nvmlReturn_t nvmlDeviceGetPciInfo_v3(nvmlDevice_t d, nvmlPciInfo_t *out) {
    memset(out, 0xEE, sizeof *out);
    out->pciDeviceId = d->pci;
    return d->parent ? NOT_SUPPORTED : SUCCESS;
}

nvmlReturn_t nvmlDeviceGetCudaComputeCapability(nvmlDevice_t d, int *major, int *minor) {
    *major = d->major;
    *minor = d->minor;
    return d->parent ? NOT_SUPPORTED : SUCCESS;
}

nvmlReturn_t nvmlDeviceGetMigMode(nvmlDevice_t d, unsigned int *current, unsigned int *pending) {
    *current = d->mig;
    *pending = 1;
    return d->major >= 8 ? SUCCESS : NOT_SUPPORTED;
}

nvmlReturn_t nvmlDeviceGetMaxMigDeviceCount(nvmlDevice_t d, unsigned int *out) { *out = d->mig ? 7 : 0; return SUCCESS; }

nvmlReturn_t nvmlDeviceGetMigDeviceHandleByIndex(nvmlDevice_t d, unsigned int index, nvmlDevice_t *out) {
    /* The slices lie at 1 and 3, as they do after others between them were destroyed. */
    if (!d->slices || (index != 1 && index != 3)) return NOT_FOUND;
    *out = &d->slices[index / 2];
    return SUCCESS;
}

nvmlReturn_t nvmlDeviceGetDeviceHandleFromMigDeviceHandle(nvmlDevice_t d, nvmlDevice_t *out) {
    *out = d->parent;
    return d->parent ? SUCCESS : INVALID_ARGUMENT;
}

nvmlReturn_t nvmlDeviceGetAttributes_v2(nvmlDevice_t d, nvmlDeviceAttributes_t *out) {
    memset(out, 0xEE, sizeof *out);
    out->multiprocessorCount = d->multiprocessors;
    out->gpuInstanceSliceCount = d->gpu_slices;
    out->computeInstanceSliceCount = d->compute_slices;
    out->memorySizeMB = d->mib;
    return d->parent ? SUCCESS : NOT_SUPPORTED;
}

nvmlReturn_t nvmlDeviceGetEnforcedPowerLimit(nvmlDevice_t d, unsigned int *out) {
    *out = d->limit_mw;
    return d->parent ? NOT_SUPPORTED : SUCCESS;
}

nvmlReturn_t nvmlDeviceGetPowerManagementDefaultLimit(nvmlDevice_t d, unsigned int *out) {
    *out = d->default_mw;
    return d->parent ? NOT_SUPPORTED : SUCCESS;
}

nvmlReturn_t nvmlDeviceGetMaxClockInfo(nvmlDevice_t d, int domain, unsigned int *out) {
    *out = domain == 2 ? d->memory_mhz : 1980;
    return SUCCESS;
}

nvmlReturn_t nvmlDeviceGetMemoryBusWidth(nvmlDevice_t d, unsigned int *out) { *out = d->bus_bits; return SUCCESS; }

nvmlReturn_t nvmlDeviceGetNvLinkState(nvmlDevice_t d, unsigned int link, unsigned int *out) {
    *out = link < d->nvlinks;
    return !d->nvlinks ? NOT_SUPPORTED : link < 18 ? SUCCESS : INVALID_ARGUMENT;
}

nvmlReturn_t nvmlDeviceGetClockInfo(nvmlDevice_t d, int domain, unsigned int *out) {
    *out = domain == 2 ? d->memory_mhz : 1755;
    return d->parent ? NOT_SUPPORTED : SUCCESS;
}

nvmlReturn_t nvmlDeviceGetTemperatureV(nvmlDevice_t d, nvmlTemperature_t *out) {
    if (out->version != (sizeof *out | 1 << 24) || out->sensorType != 0) return INVALID_ARGUMENT;
    out->temperature = 41;
    return d->parent ? NOT_SUPPORTED : SUCCESS;
}

nvmlReturn_t nvmlDeviceGetPowerUsage(nvmlDevice_t d, unsigned int *out) {
    *out = 436500;
    return d->parent ? NOT_SUPPORTED : SUCCESS;
}

nvmlReturn_t nvmlDeviceGetTotalEnergyConsumption(nvmlDevice_t d, unsigned long long *out) {
    *out = 9000000000123ull; /* past 32 bits after two months at 700 W */
    return d->parent ? NOT_SUPPORTED : SUCCESS;
}

nvmlReturn_t nvmlDeviceGetCurrentClocksEventReasons(nvmlDevice_t d, unsigned long long *out) {
    *out = 0x1 | 0x4 | 0x40;
    return d->parent ? NOT_SUPPORTED : SUCCESS;
}
#else
nvmlReturn_t nvmlDeviceGetTemperature(nvmlDevice_t d, int sensor, unsigned int *out) {
    *out = 40;
    return d && sensor == 0 ? SUCCESS : INVALID_ARGUMENT;
}

nvmlReturn_t nvmlDeviceGetPowerManagementLimit(nvmlDevice_t d, unsigned int *out) { *out = d->limit_mw; return SUCCESS; }

nvmlReturn_t nvmlDeviceGetCurrentClocksThrottleReasons(nvmlDevice_t d, unsigned long long *out) {
    *out = d ? 0x8 : 0;
    return SUCCESS;
}
#endif
