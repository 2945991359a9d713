from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from typing import ClassVar as _ClassVar, Iterable as _Iterable, Mapping as _Mapping, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class Kernels(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    DEFAULT: _ClassVar[Kernels]
    BUILTIN: _ClassVar[Kernels]
    REFERENCE: _ClassVar[Kernels]
DEFAULT: Kernels
BUILTIN: Kernels
REFERENCE: Kernels

class GetInfoRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class Info(_message.Message):
    __slots__ = ("agent_version", "protocol", "hostname", "board", "os", "kernel", "machine", "bits", "libc", "python", "cpu", "cpu_features", "cpu_count", "ram_bytes", "ram_available_bytes", "disk_free_bytes", "temperature_c", "throttled", "runtimes", "limits")
    AGENT_VERSION_FIELD_NUMBER: _ClassVar[int]
    PROTOCOL_FIELD_NUMBER: _ClassVar[int]
    HOSTNAME_FIELD_NUMBER: _ClassVar[int]
    BOARD_FIELD_NUMBER: _ClassVar[int]
    OS_FIELD_NUMBER: _ClassVar[int]
    KERNEL_FIELD_NUMBER: _ClassVar[int]
    MACHINE_FIELD_NUMBER: _ClassVar[int]
    BITS_FIELD_NUMBER: _ClassVar[int]
    LIBC_FIELD_NUMBER: _ClassVar[int]
    PYTHON_FIELD_NUMBER: _ClassVar[int]
    CPU_FIELD_NUMBER: _ClassVar[int]
    CPU_FEATURES_FIELD_NUMBER: _ClassVar[int]
    CPU_COUNT_FIELD_NUMBER: _ClassVar[int]
    RAM_BYTES_FIELD_NUMBER: _ClassVar[int]
    RAM_AVAILABLE_BYTES_FIELD_NUMBER: _ClassVar[int]
    DISK_FREE_BYTES_FIELD_NUMBER: _ClassVar[int]
    TEMPERATURE_C_FIELD_NUMBER: _ClassVar[int]
    THROTTLED_FIELD_NUMBER: _ClassVar[int]
    RUNTIMES_FIELD_NUMBER: _ClassVar[int]
    LIMITS_FIELD_NUMBER: _ClassVar[int]
    agent_version: str
    protocol: int
    hostname: str
    board: str
    os: str
    kernel: str
    machine: str
    bits: int
    libc: str
    python: str
    cpu: str
    cpu_features: _containers.RepeatedScalarFieldContainer[str]
    cpu_count: int
    ram_bytes: int
    ram_available_bytes: int
    disk_free_bytes: int
    temperature_c: float
    throttled: str
    runtimes: _containers.RepeatedCompositeFieldContainer[Runtime]
    limits: Limits
    def __init__(self, agent_version: _Optional[str] = ..., protocol: _Optional[int] = ..., hostname: _Optional[str] = ..., board: _Optional[str] = ..., os: _Optional[str] = ..., kernel: _Optional[str] = ..., machine: _Optional[str] = ..., bits: _Optional[int] = ..., libc: _Optional[str] = ..., python: _Optional[str] = ..., cpu: _Optional[str] = ..., cpu_features: _Optional[_Iterable[str]] = ..., cpu_count: _Optional[int] = ..., ram_bytes: _Optional[int] = ..., ram_available_bytes: _Optional[int] = ..., disk_free_bytes: _Optional[int] = ..., temperature_c: _Optional[float] = ..., throttled: _Optional[str] = ..., runtimes: _Optional[_Iterable[_Union[Runtime, _Mapping]]] = ..., limits: _Optional[_Union[Limits, _Mapping]] = ...) -> None: ...

class Runtime(_message.Message):
    __slots__ = ("name", "version")
    NAME_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    name: str
    version: str
    def __init__(self, name: _Optional[str] = ..., version: _Optional[str] = ...) -> None: ...

class Limits(_message.Message):
    __slots__ = ("memory_bytes", "invoke_seconds", "store_bytes", "sessions", "chunk_bytes")
    MEMORY_BYTES_FIELD_NUMBER: _ClassVar[int]
    INVOKE_SECONDS_FIELD_NUMBER: _ClassVar[int]
    STORE_BYTES_FIELD_NUMBER: _ClassVar[int]
    SESSIONS_FIELD_NUMBER: _ClassVar[int]
    CHUNK_BYTES_FIELD_NUMBER: _ClassVar[int]
    memory_bytes: int
    invoke_seconds: float
    store_bytes: int
    sessions: int
    chunk_bytes: int
    def __init__(self, memory_bytes: _Optional[int] = ..., invoke_seconds: _Optional[float] = ..., store_bytes: _Optional[int] = ..., sessions: _Optional[int] = ..., chunk_bytes: _Optional[int] = ...) -> None: ...

class PutModelRequest(_message.Message):
    __slots__ = ("header", "chunk")
    HEADER_FIELD_NUMBER: _ClassVar[int]
    CHUNK_FIELD_NUMBER: _ClassVar[int]
    header: ModelHeader
    chunk: ModelChunk
    def __init__(self, header: _Optional[_Union[ModelHeader, _Mapping]] = ..., chunk: _Optional[_Union[ModelChunk, _Mapping]] = ...) -> None: ...

class ModelHeader(_message.Message):
    __slots__ = ("sha256", "size")
    SHA256_FIELD_NUMBER: _ClassVar[int]
    SIZE_FIELD_NUMBER: _ClassVar[int]
    sha256: str
    size: int
    def __init__(self, sha256: _Optional[str] = ..., size: _Optional[int] = ...) -> None: ...

class ModelChunk(_message.Message):
    __slots__ = ("offset", "data")
    OFFSET_FIELD_NUMBER: _ClassVar[int]
    DATA_FIELD_NUMBER: _ClassVar[int]
    offset: int
    data: bytes
    def __init__(self, offset: _Optional[int] = ..., data: _Optional[bytes] = ...) -> None: ...

class PutModelReply(_message.Message):
    __slots__ = ("offset", "complete")
    OFFSET_FIELD_NUMBER: _ClassVar[int]
    COMPLETE_FIELD_NUMBER: _ClassVar[int]
    offset: int
    complete: bool
    def __init__(self, offset: _Optional[int] = ..., complete: bool = ...) -> None: ...

class ListModelsRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class ListModelsReply(_message.Message):
    __slots__ = ("models",)
    MODELS_FIELD_NUMBER: _ClassVar[int]
    models: _containers.RepeatedCompositeFieldContainer[ModelHeader]
    def __init__(self, models: _Optional[_Iterable[_Union[ModelHeader, _Mapping]]] = ...) -> None: ...

class DeleteModelRequest(_message.Message):
    __slots__ = ("sha256",)
    SHA256_FIELD_NUMBER: _ClassVar[int]
    sha256: str
    def __init__(self, sha256: _Optional[str] = ...) -> None: ...

class DeleteModelReply(_message.Message):
    __slots__ = ("deleted",)
    DELETED_FIELD_NUMBER: _ClassVar[int]
    deleted: bool
    def __init__(self, deleted: bool = ...) -> None: ...

class Patch(_message.Message):
    __slots__ = ("offset", "replace", "append")
    OFFSET_FIELD_NUMBER: _ClassVar[int]
    REPLACE_FIELD_NUMBER: _ClassVar[int]
    APPEND_FIELD_NUMBER: _ClassVar[int]
    offset: int
    replace: bytes
    append: bytes
    def __init__(self, offset: _Optional[int] = ..., replace: _Optional[bytes] = ..., append: _Optional[bytes] = ...) -> None: ...

class RunConfig(_message.Message):
    __slots__ = ("sha256", "patches", "tensors", "runtime", "kernels", "delegate", "delegate_options", "threads", "memory_bytes", "invoke_seconds")
    class DelegateOptionsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    SHA256_FIELD_NUMBER: _ClassVar[int]
    PATCHES_FIELD_NUMBER: _ClassVar[int]
    TENSORS_FIELD_NUMBER: _ClassVar[int]
    RUNTIME_FIELD_NUMBER: _ClassVar[int]
    KERNELS_FIELD_NUMBER: _ClassVar[int]
    DELEGATE_FIELD_NUMBER: _ClassVar[int]
    DELEGATE_OPTIONS_FIELD_NUMBER: _ClassVar[int]
    THREADS_FIELD_NUMBER: _ClassVar[int]
    MEMORY_BYTES_FIELD_NUMBER: _ClassVar[int]
    INVOKE_SECONDS_FIELD_NUMBER: _ClassVar[int]
    sha256: str
    patches: _containers.RepeatedCompositeFieldContainer[Patch]
    tensors: _containers.RepeatedScalarFieldContainer[int]
    runtime: str
    kernels: Kernels
    delegate: str
    delegate_options: _containers.ScalarMap[str, str]
    threads: int
    memory_bytes: int
    invoke_seconds: float
    def __init__(self, sha256: _Optional[str] = ..., patches: _Optional[_Iterable[_Union[Patch, _Mapping]]] = ..., tensors: _Optional[_Iterable[int]] = ..., runtime: _Optional[str] = ..., kernels: _Optional[_Union[Kernels, str]] = ..., delegate: _Optional[str] = ..., delegate_options: _Optional[_Mapping[str, str]] = ..., threads: _Optional[int] = ..., memory_bytes: _Optional[int] = ..., invoke_seconds: _Optional[float] = ...) -> None: ...

class TensorChunk(_message.Message):
    __slots__ = ("sample", "tensor", "dtype", "shape", "offset", "size", "crc32", "data")
    SAMPLE_FIELD_NUMBER: _ClassVar[int]
    TENSOR_FIELD_NUMBER: _ClassVar[int]
    DTYPE_FIELD_NUMBER: _ClassVar[int]
    SHAPE_FIELD_NUMBER: _ClassVar[int]
    OFFSET_FIELD_NUMBER: _ClassVar[int]
    SIZE_FIELD_NUMBER: _ClassVar[int]
    CRC32_FIELD_NUMBER: _ClassVar[int]
    DATA_FIELD_NUMBER: _ClassVar[int]
    sample: int
    tensor: int
    dtype: str
    shape: _containers.RepeatedScalarFieldContainer[int]
    offset: int
    size: int
    crc32: int
    data: bytes
    def __init__(self, sample: _Optional[int] = ..., tensor: _Optional[int] = ..., dtype: _Optional[str] = ..., shape: _Optional[_Iterable[int]] = ..., offset: _Optional[int] = ..., size: _Optional[int] = ..., crc32: _Optional[int] = ..., data: _Optional[bytes] = ...) -> None: ...

class Invoke(_message.Message):
    __slots__ = ("sample", "reset_state")
    SAMPLE_FIELD_NUMBER: _ClassVar[int]
    RESET_STATE_FIELD_NUMBER: _ClassVar[int]
    sample: int
    reset_state: bool
    def __init__(self, sample: _Optional[int] = ..., reset_state: bool = ...) -> None: ...

class RunRequest(_message.Message):
    __slots__ = ("config", "input", "invoke")
    CONFIG_FIELD_NUMBER: _ClassVar[int]
    INPUT_FIELD_NUMBER: _ClassVar[int]
    INVOKE_FIELD_NUMBER: _ClassVar[int]
    config: RunConfig
    input: TensorChunk
    invoke: Invoke
    def __init__(self, config: _Optional[_Union[RunConfig, _Mapping]] = ..., input: _Optional[_Union[TensorChunk, _Mapping]] = ..., invoke: _Optional[_Union[Invoke, _Mapping]] = ...) -> None: ...

class Ready(_message.Message):
    __slots__ = ("runtime", "inputs", "outputs", "load_ns", "worker_pid")
    RUNTIME_FIELD_NUMBER: _ClassVar[int]
    INPUTS_FIELD_NUMBER: _ClassVar[int]
    OUTPUTS_FIELD_NUMBER: _ClassVar[int]
    LOAD_NS_FIELD_NUMBER: _ClassVar[int]
    WORKER_PID_FIELD_NUMBER: _ClassVar[int]
    runtime: Runtime
    inputs: _containers.RepeatedScalarFieldContainer[int]
    outputs: _containers.RepeatedScalarFieldContainer[int]
    load_ns: int
    worker_pid: int
    def __init__(self, runtime: _Optional[_Union[Runtime, _Mapping]] = ..., inputs: _Optional[_Iterable[int]] = ..., outputs: _Optional[_Iterable[int]] = ..., load_ns: _Optional[int] = ..., worker_pid: _Optional[int] = ...) -> None: ...

class Done(_message.Message):
    __slots__ = ("sample", "invoke_ns")
    SAMPLE_FIELD_NUMBER: _ClassVar[int]
    INVOKE_NS_FIELD_NUMBER: _ClassVar[int]
    sample: int
    invoke_ns: int
    def __init__(self, sample: _Optional[int] = ..., invoke_ns: _Optional[int] = ...) -> None: ...

class RunReply(_message.Message):
    __slots__ = ("ready", "tensor", "done")
    READY_FIELD_NUMBER: _ClassVar[int]
    TENSOR_FIELD_NUMBER: _ClassVar[int]
    DONE_FIELD_NUMBER: _ClassVar[int]
    ready: Ready
    tensor: TensorChunk
    done: Done
    def __init__(self, ready: _Optional[_Union[Ready, _Mapping]] = ..., tensor: _Optional[_Union[TensorChunk, _Mapping]] = ..., done: _Optional[_Union[Done, _Mapping]] = ...) -> None: ...

class BenchmarkRequest(_message.Message):
    __slots__ = ("config", "inputs", "warmup", "runs")
    CONFIG_FIELD_NUMBER: _ClassVar[int]
    INPUTS_FIELD_NUMBER: _ClassVar[int]
    WARMUP_FIELD_NUMBER: _ClassVar[int]
    RUNS_FIELD_NUMBER: _ClassVar[int]
    config: RunConfig
    inputs: _containers.RepeatedCompositeFieldContainer[TensorChunk]
    warmup: int
    runs: int
    def __init__(self, config: _Optional[_Union[RunConfig, _Mapping]] = ..., inputs: _Optional[_Iterable[_Union[TensorChunk, _Mapping]]] = ..., warmup: _Optional[int] = ..., runs: _Optional[int] = ...) -> None: ...

class BenchmarkReply(_message.Message):
    __slots__ = ("invoke_ns", "peak_rss_bytes")
    INVOKE_NS_FIELD_NUMBER: _ClassVar[int]
    PEAK_RSS_BYTES_FIELD_NUMBER: _ClassVar[int]
    invoke_ns: _containers.RepeatedScalarFieldContainer[int]
    peak_rss_bytes: int
    def __init__(self, invoke_ns: _Optional[_Iterable[int]] = ..., peak_rss_bytes: _Optional[int] = ...) -> None: ...
