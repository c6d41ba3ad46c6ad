// Runs a UF2 file on rp2040js; UART0 is standard input and output. node rp2040js.cjs RP2040JS-FOLDER FILE.uf2
// It starts as the boot ROM does (RP2040 Datasheet, 2.8.1): the first 256 bytes of the flash are checked by their CRC,
// copied to the end of the SRAM and called.
"use strict";
const fs = require("fs");
const [folder, file] = process.argv.slice(2);
const { Simulator } = require(folder);

const FLASH = 0x10000000;
const SRAM = 0x20000000;
const BOOT = 0x20041f00;
const RX_FULL = 1 << 6; // of UARTFR

function fail(message) {
    process.stderr.write(`${message}\n`);
    process.exit(1);
}

function crc32(bytes) {
    let crc = 0xffffffff;
    for (const byte of bytes) {
        crc ^= byte << 24;
        for (let bit = 0; bit < 8; bit++) {
            crc = crc & 0x80000000 ? (crc << 1) ^ 0x04c11db7 : crc << 1;
        }
    }
    return crc >>> 0;
}

const simulator = new Simulator();
const mcu = simulator.rp2040;
const quiet = () => {};
mcu.logger = { debug: quiet, info: quiet, warn: quiet, error: (name, text) => process.stderr.write(`${name}: ${text}\n`) };

const uf2 = fs.readFileSync(file);
for (let at = 0; at < uf2.length; at += 512) {
    if (uf2.readUInt32LE(at) !== 0x0a324655 || uf2.readUInt32LE(at + 508) !== 0x0ab16f30) {
        fail(`${file}: no UF2 block at ${at}`);
    }
    const size = uf2.readUInt32LE(at + 16);
    mcu.flash.set(uf2.subarray(at + 32, at + 32 + size), uf2.readUInt32LE(at + 12) - FLASH);
}
const boot = mcu.flash.subarray(0, 256);
const said = Buffer.from(boot).readUInt32LE(252);
const computed = crc32(boot.subarray(0, 252));
if (said !== computed) {
    fail(`the boot ROM would refuse the second stage: its CRC is 0x${computed.toString(16)}, not 0x${said.toString(16)}`);
}
mcu.sram.set(boot, BOOT - SRAM);
mcu.core.SP = BOOT;
mcu.core.PC = BOOT;

const waiting = [];
const output = [];
const uart = mcu.uart[0];
uart.onByte = (byte) => output.push(byte);

function read() {
    const buffer = Buffer.alloc(4096);
    fs.read(0, buffer, 0, buffer.length, null, (error, count) => {
        if (error || count === 0) {
            process.exit(0); // nobody holds the port any more
        }
        waiting.push(...buffer.subarray(0, count));
        read();
    });
}

// Short turns, so that what arrives is soon seen; a byte is given only when the FIFO has room, as a line paces them.
function turn() {
    for (let i = 0; i < 20000; i++) {
        if (waiting.length > 0 && i % 64 === 0 && uart.rxEnabled && uart.enabled && (uart.flags & RX_FULL) === 0) {
            uart.feedByte(waiting.shift());
        }
        if (mcu.core.waiting) {
            fail("the core sleeps, which this firmware never does");
        }
        simulator.clock.tick(mcu.core.executeInstruction() * 8); // ns at 125 MHz
    }
    if (output.length > 0) {
        const bytes = Buffer.from(output.splice(0));
        for (let sent = 0; sent < bytes.length; ) {
            sent += fs.writeSync(1, bytes, sent);
        }
    }
    setImmediate(turn);
}

process.stderr.write("running\n");
read();
turn();
