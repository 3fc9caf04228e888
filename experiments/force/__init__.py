"""Full-FORCE, FORCE and back-propagation on the same rate networks: the spectra they leave, the paper's last open remark."""
