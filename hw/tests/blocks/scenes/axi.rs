//! The ports to the outside.

use super::{Scene, scene};
use fastcar_arch::config::AccelConfig;
use fastcar_arch::regs::RegisterMap;
use fastcar_hw::axi::{AxiLite, BurstPort, Control, Handshake, ReadMaster, WriteMaster};
use fastcar_hw::rtl::Block;

pub fn scenes() -> Vec<Scene> {
    let lite = AxiLite::new(12).and_then(|lite| lite.module());
    let config = AccelConfig::preset("tiny").unwrap();
    let control = Control::new(&config, Handshake::Chain).module();
    let ctrl = u64::from(RegisterMap::new(&config).get("CTRL").unwrap().offset);
    let port = BurstPort::new(16, 20, 8, 4).unwrap();
    // Two beats at local beat 0x40.
    let request = 1 << port.address_bits() | 0x40;
    vec![
        scene("axi/lite", "a write whose data comes after its address, and a read.", lite, 9)
            .input("axi_awvalid_i", &[1])
            .with("axi_awaddr_i", "axi_awvalid_i", &[0x10])
            .input("axi_wvalid_i", &[0, 1])
            .with("axi_wdata_i", "axi_wvalid_i", &[0, 0xabcd])
            .given("axi_wstrb_i", &[0, 15])
            .shown(&["write_o"])
            .counts("write_addr_o", "write_o")
            .counts("write_data_o", "write_o")
            .always("axi_bready_i", 1)
            .shown(&["axi_bvalid_o"])
            .input("axi_arvalid_i", &[0, 1])
            .with("axi_araddr_i", "axi_arvalid_i", &[0, 0x14])
            .shown(&["read_o"])
            .counts("read_addr_o", "read_o")
            .given("read_data_i", &[0, 0, 0, 0x1234])
            .always("axi_rready_i", 1)
            .shown(&["axi_rvalid_o"])
            .counts("axi_rdata_o", "axi_rvalid_o"),
        scene("axi/control", "`ap_start` is written.", control, 7)
            .input("axi_awvalid_i", &[1])
            .with("axi_awaddr_i", "axi_awvalid_i", &[ctrl])
            .input("axi_wvalid_i", &[1])
            .with("axi_wdata_i", "axi_wvalid_i", &[1])
            .given("axi_wstrb_i", &[15])
            .always("axi_bready_i", 1)
            .shown(&["axi_bvalid_o", "start_o"]),
        scene("axi/read", "a burst of two beats.", ReadMaster::new(port).module(), 9)
            .input("req_valid_i", &[1])
            .with("req_data_i", "req_valid_i", &[request])
            .shown(&["req_ready_o"])
            .given("base_i", &[0x10_0000; 9])
            .shown(&["axi_arvalid_o"])
            .counts("axi_araddr_o", "axi_arvalid_o")
            .counts("axi_arlen_o", "axi_arvalid_o")
            .always("axi_arready_i", 1)
            .input("axi_rvalid_i", &[0, 0, 0, 0, 1, 1])
            .with("axi_rdata_i", "axi_rvalid_i", &[0, 0, 0, 0, 0xa0, 0xa1])
            .given("axi_rlast_i", &[0, 0, 0, 0, 0, 1])
            .shown(&["beat_valid_o"])
            .counts("beat_data_o", "beat_valid_o")
            .counts("beat_last_o", "beat_valid_o")
            .shown(&["under_way_o"]),
        scene("axi/write", "a burst of two beats.", WriteMaster::new(port).module(), 10)
            .input("req_valid_i", &[1])
            .given("req_data_i", &[request])
            .input("data_valid_i", &[1, 1, 1])
            .with("data_data_i", "data_valid_i", &[0xa0, 0xa0, 0xa1])
            .shown(&["data_ready_o"])
            .given("base_i", &[0x10_0000; 10])
            .shown(&["axi_awvalid_o"])
            .counts("axi_awaddr_o", "axi_awvalid_o")
            .always("axi_awready_i", 1)
            .shown(&["axi_wvalid_o"])
            .counts("axi_wdata_o", "axi_wvalid_o")
            .counts("axi_wlast_o", "axi_wvalid_o")
            .always("axi_wready_i", 1)
            .input("axi_bvalid_i", &[0, 0, 0, 0, 0, 0, 1])
            .shown(&["ack_valid_o", "under_way_o"]),
    ]
}
