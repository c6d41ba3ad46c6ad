"""Exports: compiled with the user's tools, and their self-test run, two models in one program."""

from __future__ import annotations

import subprocess
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
from graphs import attention_graph, quantized, quantized16, random_graph, rescaled_graph
from test_blocks_and_ahead import drawn, integer

import edge_tqs
from edge_tqs.errors import UsageError
from edge_tqs.exporting import MARK, export, texts
from edge_tqs.exporting.parts import Network
from edge_tqs.graph.graph import Graph

STRICT = ["-std=c99", "-O1", "-Wall", "-Wextra", "-pedantic", "-Wconversion", "-Wshadow", "-Werror"]
HASH = bytes(range(32)).hex()


def of(kind: str | None, make: Callable[[np.random.Generator, Graph], Graph] = quantized) -> Graph:
    rng = np.random.default_rng(4)
    return make(rng, attention_graph(rng) if kind is None else random_graph(rng, kind))


GRAPHS = {
    "lstm": lambda: of("lstm"),
    "tcn, int16": lambda: of("tcn", quantized16),
    "attention": lambda: of(None),
    "blocks, known ahead": lambda: integer(drawn("windowed", 4, 2, (0, None, 1)))[0],
    "rescaled": lambda: rescaled_graph("stateful", 1),
    "driven": lambda: integer(drawn("none", 1, 2, (None, None, None)))[0],
}


def network(graph: Graph, core: str = "portable") -> Network:
    shape = (1, graph.forecast.seed_length(12), graph.forecast.channels)
    return Network(graph, np.random.default_rng(3).normal(size=shape).astype(np.float32), "room", HASH, core)


def write(folder: Path, files: Mapping[str, str | bytes]) -> Path:
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(text if isinstance(text, bytes) else text.encode())
    return folder


def call(*command: str | Path, cwd: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(list(map(str, command)), cwd=cwd, capture_output=True, text=True, check=False)


def compiled(*command: str | Path, cwd: Path) -> None:
    done = call(*command, cwd=cwd)
    assert done.returncode == 0, done.stderr[:3000]


def two_models(first: str, second: str) -> str:
    """A main that runs both self-tests, and the first again with a sample pushed in between."""
    return (
        f'#include "{first}"\n#include "{second}"\nint main(void) {{\n'
        "    static one_model_t one;\n    static two_model_t two;\n"
        "    if (one_selftest(&one) != 0u || two_selftest(&two) != 0u) {\n        return 1;\n    }\n"
        "    return one_selftest(&one) == 0u && one_pushed(&one) == 0u && two_model_hash[1] == 1u ? 0 : 2;\n}\n"
    )


ONE_MODEL = """
#include "room_selftest.h"
int main(void) {
    static room_model_t model;
    return (int)room_selftest(&model);
}
"""


@pytest.mark.parametrize("name", GRAPHS)
def test_two_models_in_one_program_compute_what_the_host_does(name: str, tmp_path: Path) -> None:
    """As a folder of sources, and in one file; and a code that is not the host's is noticed."""
    made = network(GRAPHS[name]())
    write(tmp_path, texts(made, "c", "one", self_test=True))
    write(tmp_path, texts(made, "amalgamated", "two", self_test=True))
    (tmp_path / "main.c").write_text(two_models("one_selftest.h", "two.h"))
    sources = sorted((tmp_path / "src").glob("*.c"))
    command: list[str | Path] = ["gcc", *STRICT, "-Isrc", "-I.", *sources, "two.c", "main.c", "-o", "both"]
    compiled(*command, cwd=tmp_path)
    assert call("./both", cwd=tmp_path).returncode == 0
    text = (tmp_path / "two.c").read_text()
    head, _, rest = text.partition("expected[TWO_SELFTEST_STEPS * TWO_OUTPUTS] = {\n    ")
    code, comma, rest = rest.partition("," if "," in rest.partition("}")[0] else "\n")
    other = f"{head}expected[TWO_SELFTEST_STEPS * TWO_OUTPUTS] = {{\n    {int(code) // 2 - 1}{comma}{rest}"
    (tmp_path / "two.c").write_text(other)
    compiled(*command, cwd=tmp_path)
    assert call("./both", cwd=tmp_path).returncode == 1


def test_the_example_reads_samples_and_prints_forecasts(tmp_path: Path) -> None:
    graph = of("lstm")
    write(tmp_path, texts(network(graph), "amalgamated", "room", self_test=False))
    compiled("gcc", *STRICT, "-I.", "room.c", "examples/main.c", "-o", "forecast", cwd=tmp_path)
    samples = "\n".join(",".join(["0.5"] * graph.forecast.channels) for _ in range(graph.forecast.window))
    done = subprocess.run(tmp_path / "forecast", input=samples, capture_output=True, text=True, check=True)
    rows = done.stdout.splitlines()
    assert len(rows) == 8
    assert all(len(row.split(",")) == graph.forecast.outputs for row in rows)


@pytest.mark.parametrize(
    ("core", "flags"),
    [("cortex-m0plus", ""), ("cortex-m4", ""), ("cortex-m55", "-mfloat-abi=hard"), ("cortex-m3", "")],
)
def test_one_file_holds_the_kernels_of_its_core_and_says_so(core: str, flags: str, tmp_path: Path) -> None:
    write(tmp_path, texts(network(of("tcn"), core), "amalgamated", "room", self_test=True))
    arm = ("arm-none-eabi-gcc", "-mthumb", f"-mcpu={core}", *flags.split())
    compiled(*arm, *STRICT, "-I.", "-c", "room.c", "-o", "room.o", cwd=tmp_path)
    assert "export a build for this core" in call("gcc", "-c", "room.c", cwd=tmp_path).stderr


STARTUP = """
extern char stack_end[];
int main(void);
static void leave(int code) {
    unsigned block[2] = {0x20026u, (unsigned)code};
    register unsigned r0 __asm__("r0") = 0x20u;
    register void *r1 __asm__("r1") = block;
    __asm__ volatile("bkpt 0xab" : : "r"(r0), "r"(r1) : "memory");
}
static void start(void) {
    leave(main());
}
__attribute__((section(".vectors"), used)) static void *const vectors[] = {stack_end, (void *)start};
"""
SCRIPT = """
SECTIONS {
    .text 0 : { KEEP(*(.vectors)) *(.text*) *(.rodata*) }
    .bss 0x20000000 (NOLOAD) : { *(.data*) *(.bss*) . = ALIGN(8); . += 0x2000; stack_end = .; }
}
"""
PROJECT = """
cmake_minimum_required(VERSION 3.16)
project(firmware C)
add_subdirectory(one)
add_subdirectory(two)
add_executable(firmware main.c startup.c)
target_link_libraries(firmware PRIVATE one::one two::two)
target_link_options(firmware PRIVATE -nostartfiles -T ${CMAKE_SOURCE_DIR}/link.ld)
"""


@pytest.mark.emulated
@pytest.mark.parametrize(("core", "machine", "family"), [("cortex-m4", "mps2-an386", "dsp")])
def test_cmake_takes_the_kernels_of_the_compiler_and_both_models_run(
    core: str, machine: str, family: str, tmp_path: Path
) -> None:
    for name, kind in (("one", "lstm"), ("two", "tcn")):
        write(tmp_path / name, texts(network(of(kind)), "cmake", name, self_test=True))
    write(tmp_path, {"CMakeLists.txt": PROJECT, "startup.c": STARTUP, "link.ld": SCRIPT})
    (tmp_path / "main.c").write_text(two_models("one_selftest.h", "two_selftest.h"))
    options = {
        "CMAKE_SYSTEM_NAME": "Generic",
        "CMAKE_SYSTEM_PROCESSOR": "arm",
        "CMAKE_C_COMPILER": "arm-none-eabi-gcc",
        "CMAKE_C_FLAGS": f"-mthumb -mcpu={core} -ffreestanding -Wall -Wextra -Wconversion -Werror",
        "CMAKE_TRY_COMPILE_TARGET_TYPE": "STATIC_LIBRARY",
    }
    configured = call("cmake", "-S", ".", "-B", "b", *(f"-D{k}={v}" for k, v in options.items()), cwd=tmp_path)
    assert configured.returncode == 0, configured.stderr
    assert all(f"{name}: kernels for {family}" in configured.stdout for name in ("one", "two"))
    compiled("cmake", "--build", "b", cwd=tmp_path)
    emulator = ("qemu-system-arm", "-M", machine, "-nographic", "-semihosting-config", "enable=on,target=native")
    done = call("timeout", "60", *emulator, "-kernel", "b/firmware", cwd=tmp_path)
    assert done.returncode == 0, done.stderr


def test_an_installed_package_is_found_by_name(tmp_path: Path) -> None:
    write(tmp_path / "room", texts(network(of("mlp")), "cmake", "room", self_test=True))
    options = ("-DCMAKE_INSTALL_PREFIX=installed", "-DROOM_EXAMPLE=OFF")
    compiled("cmake", "-S", "room", "-B", "b", *options, cwd=tmp_path)
    compiled("cmake", "--build", "b", "--target", "install", cwd=tmp_path)
    text = (
        "cmake_minimum_required(VERSION 3.16)\nproject(a C)\nfind_package(room REQUIRED)\nadd_executable(a a.c)\n"
        "target_link_libraries(a PRIVATE room::room)\n"
    )
    write(tmp_path / "user", {"CMakeLists.txt": text, "a.c": ONE_MODEL})
    compiled("cmake", "-S", "user", "-B", "c", f"-DCMAKE_PREFIX_PATH={tmp_path / 'installed'}", cwd=tmp_path)
    compiled("cmake", "--build", "c", cwd=tmp_path)
    assert call("c/a", cwd=tmp_path).returncode == 0


@pytest.mark.parametrize(
    ("kind", "core", "family"),
    [
        ("arduino", "cortex-m4", "dsp"),
        ("arduino", "cortex-m0plus", "v6m"),
        ("platformio", "", "portable"),  # the sources are those of arduino
    ],
)
def test_a_library_holds_all_families_and_compiles_one(kind: str, core: str, family: str, tmp_path: Path) -> None:
    """Every source is handed to the compiler, as those tools do; objects of the other families are empty."""
    write(tmp_path, texts(network(of("lstm")), kind, "room", self_test=True))
    compiler = ("arm-none-eabi-gcc", "-mthumb", f"-mcpu={core}") if core else ("gcc",)
    sources = sorted(path for path in (tmp_path / "src").rglob("*.c"))
    (tmp_path / "main.c").write_text(ONE_MODEL)
    flags = [flag for flag in STRICT if flag != "-pedantic"]  # which forbids a source that is empty
    if core:
        for number, source in enumerate(sources):
            compiled(*compiler, *flags, "-Isrc", "-c", source, "-o", f"{number}.o", cwd=tmp_path)
        sizes = {source: call("arm-none-eabi-size", f"{n}.o", cwd=tmp_path).stdout for n, source in enumerate(sources)}
        full = {path.parent.name for path, text in sizes.items() if int(text.splitlines()[1].split()[0]) > 0}
        assert full == {"src", family}
    else:
        compiled(*compiler, *flags, "-Isrc", *sources, "main.c", "-o", "a", cwd=tmp_path)
        assert call("./a", cwd=tmp_path).returncode == 0
    names = {path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*") if path.is_file()}
    assert ("library.properties" if kind == "arduino" else "library.json") in names


APP = """
#include "room_app.h"
int main(void) {
    static float sample[ROOM_CHANNELS], forecast[ROOM_STEPS * ROOM_OUTPUTS];
    unsigned i;
    if (!room_app_init()) {
        return 1;
    }
    for (i = 1; i < ROOM_WINDOW; i++) {
        if (room_app_sample(sample, forecast)) {
            return 2;
        }
    }
    return room_app_sample(sample, forecast) ? 0 : 3;
}
"""


@pytest.mark.emulated
@pytest.mark.parametrize("kind", ["cmsis-pack", "cube"])
def test_what_an_ide_would_compile_runs_on_an_emulated_cortex_m4(kind: str, tmp_path: Path) -> None:
    """Each source that the pack's description names, or that lies in STM32CubeIDE's folder, with its include path."""
    write(tmp_path, texts(network(of("lstm")), kind, "room", self_test=True))
    if kind == "cube":
        sources, include = sorted((tmp_path / "src").rglob("*.c")), ["-Isrc"]
    else:
        (pack,) = tmp_path.glob("*.pack")
        with zipfile.ZipFile(pack) as archive:
            archive.extractall(tmp_path / "pack")
        root = ElementTree.parse(tmp_path / "pack" / "edge-tqs.room.pdsc").getroot()
        assert pack.name == f"edge-tqs.room.{edge_tqs.__version__}.pack"
        listed = [file.attrib for file in root.iter("file")]
        assert all((tmp_path / "pack" / file["name"]).exists() for file in listed)
        assert (tmp_path / "pack" / "LICENSE").read_text() == (tmp_path / "LICENSE").read_text()
        named = [file for file in listed if "attr" not in file]
        sources = [tmp_path / "pack" / file["name"] for file in named if file["category"] == "sourceC"]
        include = [f"-Ipack/{file['name']}" for file in named if file["category"] == "include"]
    write(tmp_path, {"main.c": APP if kind == "cube" else ONE_MODEL, "startup.c": STARTUP, "link.ld": SCRIPT})
    # As STM32CubeIDE calls it for an STM32F4, less its C library, and its FPU, which startup.c does not switch on.
    flags = ("-mcpu=cortex-m4", "-std=gnu11", "-O1", "-ffunction-sections", "-fdata-sections", "-Wall", "-Werror")
    link = ("-mthumb", "-ffreestanding", "-nostartfiles", "-T", "link.ld")
    given: list[str | Path] = [*include, *sources, "main.c", "startup.c"]
    compiled("arm-none-eabi-gcc", *flags, *link, *given, "-o", "firmware", cwd=tmp_path)
    emulator = ("qemu-system-arm", "-M", "mps2-an386", "-nographic", "-semihosting-config", "enable=on,target=native")
    assert call("timeout", "60", *emulator, "-kernel", "firmware", cwd=tmp_path).returncode == 0


ON_AVR = """
#include <avr/interrupt.h>
#include <avr/io.h>
#include <avr/sleep.h>
#include "room_selftest.h"
static void put(char letter) {
    while ((UCSR0A & (1 << UDRE0)) == 0) {
    }
    UDR0 = (unsigned char)letter;
}
int main(void) {
    static room_model_t model;
    UCSR0B = 1 << TXEN0;
    put((char)('0' + room_selftest(&model)));
    put('\\n');
    while ((UCSR0A & (1 << TXC0)) == 0) {
    }
    cli(); /* asleep for ever, by which simavr ends */
    sleep_enable();
    sleep_cpu();
    return 0;
}
"""


@pytest.mark.emulated
@pytest.mark.parametrize("name", ["lstm", "attention", "rescaled"])
def test_an_arduino_uno_computes_what_the_host_does(name: str, tmp_path: Path) -> None:
    """Of 16 bits is an int there, of 2 kB the RAM: weights and tables stay in the flash."""
    write(tmp_path, texts(network(GRAPHS[name]()), "arduino", "room", self_test=True))
    (tmp_path / "main.c").write_text(ON_AVR)
    flags = [flag for flag in STRICT if flag not in ("-pedantic", "-std=c99")]
    sources = sorted((tmp_path / "src").rglob("*.c"))
    avr = ("avr-gcc", "-mmcu=atmega328p", "-std=gnu99", "-Os", "-ffunction-sections", "-Wl,--gc-sections")
    compiled(*avr, *flags, "-Isrc", *sources, "main.c", "-o", "firmware.elf", cwd=tmp_path)
    done = call("timeout", "60", "simavr", "-m", "atmega328p", "-f", "16000000", "firmware.elf", cwd=tmp_path)
    assert "0." in done.stdout + done.stderr  # a line feed is shown as a dot


def test_an_avr_refuses_int16_codes(tmp_path: Path) -> None:
    write(tmp_path, texts(network(GRAPHS["tcn, int16"]()), "arduino", "room", self_test=True))
    done = call("avr-gcc", "-mmcu=atmega2560", "-Isrc", "-c", "src/room_model.c", cwd=tmp_path)
    assert "int16 activations need an int of 32 bits" in done.stderr


#: By kind: the prefix, and a project's lines that take it, with stand-ins for the functions of its system.
STANDINS = {
    "pico-sdk": ("pico", "add_subdirectory(pico)\n"),
    "zephyr": (
        "zeph",
        """
set(CONFIG_ZEPH ON)
macro(zephyr_include_directories)
  include_directories(${ARGN})
endmacro()
macro(zephyr_library_named name)
  set(library ${name})
endmacro()
macro(zephyr_library_sources)
  add_library(${library} STATIC ${ARGN})
endmacro()
add_subdirectory(zeph/zephyr)
include_directories(zeph/src)
""",
    ),
    "esp-idf": (
        "esp",
        """
function(idf_component_register)
  cmake_parse_arguments(given "" "" "SRCS;INCLUDE_DIRS" ${ARGN})
  add_library(esp STATIC ${given_SRCS})
  target_include_directories(esp PUBLIC ${given_INCLUDE_DIRS})
endfunction()
add_subdirectory(esp)
""",
    ),
}


def test_what_modules_name_compiles_with_stand_ins_for_their_systems(tmp_path: Path) -> None:
    """A mock: neither Zephyr's tree nor ESP-IDF is here. Their functions do what their documentation says. The library
    for the Pico SDK calls none of its functions. All three are in one program."""
    text, includes, calls = "cmake_minimum_required(VERSION 3.16)\nproject(a C)\nadd_executable(a a.c)\n", "", []
    for kind, (prefix, lines) in STANDINS.items():
        write(tmp_path / prefix, texts(network(of("mlp")), kind, prefix, self_test=True))
        text += f"{lines}target_link_libraries(a PRIVATE {prefix})\n"
        includes += f'#include "{prefix}_selftest.h"\nstatic {prefix}_model_t {prefix};\n'
        calls.append(f"{prefix}_selftest(&{prefix}) != 0u")
        sample = next((tmp_path / prefix).rglob("main.c")).read_text()
        assert f'#include "{prefix}_model.h"' in sample
        assert "@" not in sample
    text += "target_include_directories(a PRIVATE zeph/src)\n"
    write(tmp_path, {"CMakeLists.txt": text, "a.c": f"{includes}int main(void) {{ return {' || '.join(calls)}; }}\n"})
    compiled("cmake", "-S", ".", "-B", "b", cwd=tmp_path)
    compiled("cmake", "--build", "b", cwd=tmp_path)
    assert call("b/a", cwd=tmp_path).returncode == 0


def test_only_an_export_is_replaced_and_only_a_name_is_a_prefix(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = network(of("mlp"))
    fake = type("Built", (), {"training": {}})()
    fake.graph, fake.seeds, fake.model_hash = made.graph, made.seeds, HASH
    fake.report = type("R", (), {"model": type("M", (), {"name": "room"})()})()
    fake.board = edge_tqs.load_board("host")
    first = export(fake, "c", tmp_path / "out", prefix="room")
    assert first.entry == "room_model.h"
    assert (tmp_path / "out" / MARK).read_text() == f"c room {HASH}\n"
    assert not any("tqs_" in (first.folder / name).read_text() for name in first.files if name.endswith((".c", ".h")))
    again = export(fake, "amalgamated", tmp_path / "out", prefix="room")
    assert {path.name for path in again.folder.iterdir()} == {
        "room.h",
        "room.c",
        "examples",
        "README.md",
        "LICENSE",
        MARK,
    }
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("years of work")
    with pytest.raises(UsageError, match="is no export"):
        export(fake, "c", tmp_path / "mine")
    for prefix in ("", "Room", "7a", "a_b", "averylongname", "é"):
        with pytest.raises(UsageError, match="is no prefix"):
            export(fake, "c", tmp_path / "out", prefix=prefix)
    with pytest.raises(UsageError, match="no export rust"):
        export(fake, "rust", tmp_path / "out")
